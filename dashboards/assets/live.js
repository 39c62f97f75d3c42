/* Listens to the stream of new lists while a live mark stands on the page. */
(function () {
  const RETRY_MS = 3000;
  let source = null, watched = null, retry = null, lastId = "", observer = null;

  function say(state, text) {
    const mark = document.getElementById("live-mark"), said = document.getElementById("live-said");
    if (!mark || !said) { return; }
    mark.dataset.state = state;
    if (said.textContent !== text) { said.textContent = text; }
  }

  function clock() {
    return new Date().toLocaleTimeString([], { hour12: false });
  }

  function stop() {
    clearTimeout(retry);
    if (source) { source.close(); }
    source = null;
  }

  function reload(what) {
    window.dash_clientside.set_props(watched.name + "-news", { data: what });
  }

  function on_problem(event) {
    lastId = event.lastEventId || lastId;
    const problem = JSON.parse(event.data).problem;
    if (problem) {
      say("stale", "New lists do not come at the moment: " + problem);
    } else {
      say("live", "Live: new lists show by themselves.");
    }
  }

  function on_list(event) {
    lastId = event.lastEventId || lastId;
    const made = JSON.parse(event.data).freshness;
    say("live", "Live: the list changed at " + clock() + ".");
    reload({ revision: made.revision, computed_at: made.computed_at });
  }

  function on_gap(event) {
    on_problem(event);
    reload({ gap: lastId, at: Date.now() });
  }

  function listen() {
    stop();
    const after = lastId ? "&after=" + encodeURIComponent(lastId) : "";
    const address = watched.url + "?user=" + encodeURIComponent(watched.user) + after;
    const opened = source = new EventSource(address, { withCredentials: true });
    opened.addEventListener("ready", on_problem);
    opened.addEventListener("stale", on_problem);
    opened.addEventListener("fresh", on_problem);
    opened.addEventListener("gap", on_gap);
    opened.addEventListener("recommendations", on_list);
    opened.onerror = function () {
      say("away", "The stream is away: trying again.");
      /* After an answer that is no stream, such as 503, the browser does not come back itself. */
      if (opened.readyState === EventSource.CLOSED && opened === source) {
        clearTimeout(retry);
        retry = setTimeout(listen, RETRY_MS);
      }
    };
  }

  function leave_with_page() {
    if (observer) { return; }
    observer = new MutationObserver(function () {
      if (document.getElementById("live-mark")) { return; }
      stop();
      observer.disconnect();
      observer = null;
    });
    observer.observe(document.getElementById("main"), { childList: true, subtree: true });
  }

  window.addEventListener("pagehide", stop);

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    live: {
      watch: function (data) {
        watched = data;
        lastId = "";
        leave_with_page();
        listen();
        return data.user;
      },
    },
  });
})();
