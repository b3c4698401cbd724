/** The page of the API's documentation: Swagger UI over `/openapi.json`. */

const place = document.getElementById("swagger-ui");

// Swagger UI has dark colours, but waits for a class.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

const nothing = () => () => null;

SwaggerUIBundle({
  domNode: place,
  url: place.dataset.url,
  deepLinking: true,
  displayRequestDuration: true,
  // The colours that it takes by itself are too faint.
  syntaxHighlight: { theme: "arta" },
  defaultModelsExpandDepth: 0,
  // By default each page is reported to a validator on the internet.
  validatorUrl: null,
  // The page itself has a title, and the only server is this one.
  plugins: [{ wrapComponents: { InfoContainer: nothing, ServersContainer: nothing } }],
});
