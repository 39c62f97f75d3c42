/* The shop: from a click to the list that it changed, in milliseconds. */
(function () {
  const PATIENCE_MS = 10000;
  let clicks = [], pressed = null, nClicks = 0, shown = null, shownAt = 0, settled = "";

  function button_of(event) {
    return event.target.closest(".buy:not([disabled])");
  }

  function buy(item) {
    const click = { id: Date.now() + "-" + nClicks++, at: performance.now() };
    clicks.push(click);
    window.dash_clientside.set_props("shop-click", { data: { id: click.id, item: item } });
  }

  /* Listened to here and not at each button: when the list is drawn anew, its buttons go, and with
     them what was not yet told of them. What is meant is what stood there when it was pressed. */
  document.addEventListener("pointerdown", function (event) {
    const button = button_of(event);
    pressed = button && { button: button, item: button.dataset.item };
  }, true);

  document.addEventListener("pointerup", function () {
    if (!pressed || pressed.button.isConnected) { return; }
    buy(pressed.item);
    pressed = null;
  }, true);

  document.addEventListener("click", function (event) {
    const button = button_of(event);
    if (button) { buy(pressed && pressed.button === button ? pressed.item : button.dataset.item); }
    pressed = null;
  }, true);

  function is_in(click, changes) {
    const sale = click.sale;
    return sale && !sale.problem && (changes.offsets[sale.partition] || 0) > sale.offset;
  }

  function changed(changes) {
    const parts = [["new", "new"], ["moved", "moved"], ["gone", "gone"]]
      .filter(function (part) { return changes[part[0]]; })
      .map(function (part) { return changes[part[0]] + " " + part[1]; });
    return parts.length ? parts.join(", ") : "nothing else moved";
  }

  function wait_for(click) {
    setTimeout(function () {
      if (!clicks.includes(click)) { return; }
      clicks = clicks.filter(function (each) { return each !== click; });
      const text = click.sale.name + " is bought, but no new list came in " +
        PATIENCE_MS / 1000 + " seconds. Does `recgraph live` run?";
      window.dash_clientside.set_props("shop-told", { children: text });
    }, PATIENCE_MS);
  }

  function take(sale) {
    settled = sale.id;
    const click = clicks.find(function (each) { return each.id === sale.id; }) || { at: NaN };
    click.sale = sale;
    if (sale.problem) {
      clicks = clicks.filter(function (each) { return each !== click; });
      return sale.problem;
    }
    wait_for(click);
    return sale.name + " is bought: the list follows …";
  }

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    shop: {
      told: function (changes, sale) {
        let said = window.dash_clientside.no_update;
        if (changes !== shown) { shown = changes; shownAt = performance.now(); }
        if (sale && sale.id !== settled) { said = take(sale); }
        const done = clicks.filter(function (each) { return is_in(each, changes); });
        if (!done.length) { return said; }
        clicks = clicks.filter(function (each) { return !done.includes(each); });
        const last = done[done.length - 1];
        const after = Math.round(shownAt - last.at) + " ms after the click";
        return last.sale.name + " is bought. " + (changes.predicts_ratings
          ? "It is known " + after + ", and changes no list: it is no rating."
          : "The list changed " + after + ": " + changed(changes) + ".");
      },
    },
  });
})();
