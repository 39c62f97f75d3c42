/* What the browser does itself: the colours of a scheme, titles, and going to the sign-in page. */
function current_scheme() {
  /* The toggle tells of changes only; the attribute holds from the first frame on. */
  return document.documentElement.getAttribute("data-mantine-color-scheme") || "light";
}

window.dash_clientside = Object.assign({}, window.dash_clientside, {
  recgraph: {
    themed_figure: function (figure, scheme, templates) {
      if (!figure) { return window.dash_clientside.no_update; }
      const layout = Object.assign({}, figure.layout, { template: templates[current_scheme()] });
      return { data: figure.data, layout: layout };
    },
    themed_network: function (scheme, stylesheets) {
      return stylesheets[current_scheme()];
    },
    arrive: function (title) {
      const isFirst = document.title === "recgraph";
      document.title = title;
      if (!isFirst) { window.scrollTo(0, 0); }
      return window.dash_clientside.no_update;
    },
  },
});

/* Cells that are links; React writes the text, so a title is never run. */
window.dashAgGridComponentFunctions = Object.assign({}, window.dashAgGridComponentFunctions, {
  ProductLink: function (props) {
    return React.createElement("a", { href: props.data.href }, props.value);
  },
});

/* The component passes Cytoscape's own default on, which Cytoscape then warns of. */
delete window.dash_cytoscape.Cytoscape.defaultProps.wheelSensitivity;

/* A session that ended meanwhile: reload, and the server shows the sign-in page. */
(function () {
  const plain = window.fetch;
  window.fetch = async function () {
    const answer = await plain.apply(this, arguments);
    if (answer.status === 401) { window.location.reload(); }
    return answer;
  };
})();
