// Starts Swagger UI over this server's own description. A file of its own, because the page's policy
// forbids scripts within the page.
"use strict";

window.addEventListener("load", () => {
  window.ui = SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    filter: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    displayRequestDuration: true,
    tryItOutEnabled: true,
    // A token that was typed in is forgotten with the page.
    persistAuthorization: false,
    // Nothing is sent elsewhere to be judged.
    validatorUrl: null,
  });
});
