// Shows the document of this gateway; everything it needs comes from here.
"use strict";

window.addEventListener("DOMContentLoaded", () => {
  window.SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#operations",
    deepLinking: true,
    displayRequestDuration: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    filter: true,
    // A token stays in the page that it was typed into, and goes to nobody else.
    persistAuthorization: false,
    validatorUrl: null,
    queryConfigEnabled: false,
    syntaxHighlight: { activated: true },
  });
});
