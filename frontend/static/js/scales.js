/**
 * The links to other scales of pixels. The page is not loaded again for them, which would lose what was
 * chosen; its programs and facts are taken out of the page of that scale.
 */

/** Shows what the page at `address` says to programs and about the model. */
async function follow(address) {
  let text;
  try {
    text = await (await fetch(address)).text();
  } catch {
    return;
  }
  // Another scale may have been chosen meanwhile.
  if (location.href !== address) return;
  const page = new DOMParser().parseFromString(text, "text/html");
  for (const what of ["#code pre > code", "#about dd:not(:has(time))"]) {
    const fresh = page.querySelectorAll(what);
    document.querySelectorAll(what).forEach((old, i) => {
      if (fresh[i]) old.textContent = fresh[i].textContent;
    });
  }
}

/** Follows the links. again: asks the model again, with the scale that it is given. */
export function watchScales(again) {
  const links = document.querySelectorAll("[data-scale]");
  for (const link of links) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      for (const other of links) other.removeAttribute("aria-current");
      link.setAttribute("aria-current", "true");
      document.querySelector("#scales-title strong").textContent = link.dataset.scale;
      history.replaceState(null, "", link.href);
      follow(link.href);
      again(link.dataset.scale);
    });
  }
}
