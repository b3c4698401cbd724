/** The page of the API's documentation: Swagger UI over `/openapi.json`. */

const place = document.getElementById("swagger-ui");

// Swagger UI uses its dark colours only if a class is set.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

const nothing = () => () => null;
// Its list of examples has no name for screen readers.
const named =
  (List, { React }) =>
  (props) =>
    React.createElement("label", { className: "examples-label" }, React.createElement(List, props));
// Nor has its list of the values of a parameter.
const chosen =
  (Select, { React }) =>
  (props) =>
    React.createElement(
      "label",
      null,
      React.createElement("span", { className: "visually-hidden" }, "Value"),
      React.createElement(Select, props),
    );

SwaggerUIBundle({
  domNode: place,
  url: place.dataset.url,
  deepLinking: true,
  displayRequestDuration: true,
  // Its default colours are too faint.
  syntaxHighlight: { theme: "arta" },
  defaultModelsExpandDepth: 0,
  // By default each page is reported to a validator on the internet.
  validatorUrl: null,
  // The page itself has a title, and the only server is this one.
  plugins: [
    {
      wrapComponents: {
        InfoContainer: nothing,
        ServersContainer: nothing,
        ExamplesSelect: named,
        Select: chosen,
      },
    },
  ],
});
