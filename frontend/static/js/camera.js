/** Pictures from a camera: the phone's camera app, or a live view in the page. */
import { make } from "./dom.js";

const PROBLEMS = {
  NotAllowedError:
    "The browser does not let this page use the camera. Allow it in the browser's address bar, or choose a picture instead.",
  NotFoundError: "No camera was found. Choose a picture instead.",
  NotReadableError: "The camera cannot be used just now, perhaps because another program uses it.",
};

/**
 * A button, or null without a camera API (such as over plain HTTP).
 * input: the form's file field. onFile: called with the picture taken. onProblem: with a message.
 */
export function cameraButton(input, { onFile, onProblem }) {
  const label = "Use the camera";
  if (matchMedia("(pointer: coarse)").matches && "capture" in input) {
    return make(
      "button",
      { type: "button", className: "btn btn-outline-secondary", onclick: () => askPhone(input, onFile) },
      label,
    );
  }
  if (!navigator.mediaDevices?.getUserMedia) return null;
  const open = async () => {
    onProblem("");
    try {
      const stream = await navigator.mediaDevices.getUserMedia({
        video: { width: { ideal: 1920 }, facingMode: "environment" },
      });
      show(stream, onFile);
    } catch (error) {
      onProblem(PROBLEMS[error.name] ?? "The camera cannot be used. Choose a picture instead.");
    }
  };
  return make("button", { type: "button", className: "btn btn-outline-secondary", onclick: open }, label);
}

/** Phones open their camera app for a file field that asks to capture. */
function askPhone(input, onFile) {
  const field = make("input", { type: "file", accept: input.accept });
  field.setAttribute("capture", "environment");
  field.addEventListener("change", () => field.files.length && onFile(field.files[0]));
  field.click();
}

/** The live view, until a picture is taken or the dialog is closed. */
function show(stream, onFile) {
  const video = make("video", { autoplay: true, muted: true, playsInline: true, srcObject: stream });
  const take = make("button", { type: "button", className: "btn btn-primary", disabled: true }, "Take picture");
  const close = make("button", { type: "button", className: "btn btn-outline-secondary" }, "Close");
  const dialog = make(
    "dialog",
    { className: "camera", "aria-label": "Camera" },
    video,
    make("div", { className: "sending" }, take, close),
  );
  video.addEventListener("loadeddata", () => {
    take.disabled = false;
    take.focus();
  });
  take.addEventListener("click", async () => {
    take.disabled = true;
    const file = await snapshot(video);
    dialog.close();
    onFile(file);
  });
  close.addEventListener("click", () => dialog.close());
  // Closing it in any way, Escape included, turns the camera off.
  dialog.addEventListener("close", () => {
    for (const track of stream.getTracks()) track.stop();
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
}

function snapshot(video) {
  const canvas = make("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((resolve) =>
    canvas.toBlob((blob) => resolve(new File([blob], "camera.jpg", { type: "image/jpeg" })), "image/jpeg", 0.92),
  );
}
