// The page to try the API. Calls go to this server, with the session of whoever is signed in.
window.addEventListener("DOMContentLoaded", () => {
  SwaggerUIBundle({
    url: "/api/v1/openapi.json",
    dom_id: "#api",
    deepLinking: true,
    validatorUrl: null,
    tryItOutEnabled: true,
  });
});
