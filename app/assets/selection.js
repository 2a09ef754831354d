// The selection: the URL is the state; links, keys and controls change it, and panels, parts and controls follow it.
(() => {
    const own = window.ropediag, { fields, query, same, told } = own;
    const skip = () => window.dash_clientside.no_update;

    // Tables follow the colour scheme of the page.
    const root = document.documentElement;
    const tell = () => (root.dataset.agThemeMode = root.getAttribute("data-mantine-color-scheme") || "light");
    new MutationObserver(tell).observe(root, { attributeFilter: ["data-mantine-color-scheme"] });
    tell();

    const PLACE = ["layer", "query_head", "pair"];

    // What a query selects, if it lies in the capture that is shown and names a place in it; null if the server must say.
    const resolve = (search) => {
        const { selection, first, offered } = told, url = fields(search);
        if (!selection || !selection.stamp || (url.capture || first) !== selection.capture) return null;
        const offers = (name, step) => (offered[step] || []).some((one) => one.value === url[name]);
        return PLACE.every(offers) ? { ...url, capture: selection.capture, stamp: selection.stamp } : null;
    };
    const pick_fields = (selection, name) => {
        const used = told.uses[name].includes("capture") ? [...told.uses[name], "stamp"] : told.uses[name];
        const known = used.filter((field) => selection[field] !== undefined);
        return Object.fromEntries(known.map((field) => [field, selection[field]]));
    };
    const list_names = (path) => told.names.filter((name) => told.homes[name] === (path || "/"));
    const want_all = (selection, path) => {
        const names = list_names(path).filter((name) => told.kinds[name]);
        own.follow(selection, names);
        for (const name of names) own.want(name, pick_fields(selection, name));
    };
    // Ask for what a query shows before the wiring comes to it.
    const expect = (path, search) => {
        const selection = resolve(search);
        if (selection) want_all(selection, path);
    };

    let chosen = {}; // the selection, without the stamp of its file
    const name_tab = () => {
        const links = [...document.querySelectorAll("nav a")];
        const open = links.find((link) => link.pathname === window.location.pathname);
        document.title = [open && open.textContent, chosen.capture, "ropediag"].filter(Boolean).join(" \u00b7 ");
    };

    const remember = ({ stamp, ...place }) => {
        const url = fields(wanted === null ? window.location.search : wanted);
        const latest = Object.keys(url).every((name) => place[name] === undefined || place[name] === url[name]);
        if (latest || !chosen.capture) chosen = place; // not the answer to a key before the last
    };

    // Links of the navigation carry the selection: as addresses, for a new tab, and when they are clicked.
    // A path that stays is left out: told again, it would build its page anew.
    let wanted = null; // the query that was asked for last; the address follows a little later
    window.addEventListener("popstate", () => (wanted = null));
    const go = (own.go = (pathname, search) => {
        wanted = search;
        expect(pathname, search);
        window.dash_clientside.set_props("url", pathname === window.location.pathname ? { search } : { pathname, search });
    });
    const carry = (event) => {
        const link = event.target.closest && event.target.closest("nav a, a.brand");
        if (!link) return;
        link.search = query({ ...chosen, ...fields(window.location.search) });
        const plain = event.type === "click" && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.button;
        if (!plain) return;
        event.preventDefault();
        event.stopPropagation();
        go(link.pathname, link.search);
    };
    for (const kind of ["mouseover", "focusin", "click"]) document.addEventListener(kind, carry, true);

    // A link to this view, with all that is selected: to the clipboard.
    document.addEventListener("click", (event) => {
        const button = event.target.closest("#copy-link"), { origin, pathname, search } = window.location;
        if (button) own.copy(origin + pathname + query({ ...chosen, ...fields(search) }), button);
    });

    // h and l go to the head on the left or right, j and k to the pair below or above, wherever nothing is typed.
    const early = []; // keys that came before the controls were filled
    const step = (key) => {
        const [layers, heads, pairs] = told.offered.map((options) => (options || []).map((one) => one.value));
        if (!layers) return early.push(key);
        if (!layers.length || !heads.length || !pairs.length) return;
        const clamp = (value, count) => Math.min(Math.max(value, 0), count - 1);
        const now = layers.indexOf(chosen.layer) * heads.length + heads.indexOf(chosen.query_head);
        const column = clamp(now + ({ h: -1, l: 1 }[key] || 0), layers.length * heads.length);
        const row = clamp(pairs.indexOf(chosen.pair) + ({ k: -1, j: 1 }[key] || 0), pairs.length);
        const place = { layer: layers[Math.floor(column / heads.length)], query_head: heads[column % heads.length] };
        chosen = { ...chosen, ...place, pair: pairs[row] };
        go(window.location.pathname, query({ ...fields(window.location.search), ...place, pair: pairs[row] }));
    };
    document.addEventListener("keydown", (event) => {
        const typing = event.target.closest("input, textarea, select, [contenteditable]");
        if (!typing && !event.ctrlKey && !event.metaKey && !event.altKey && "hjkl".includes(event.key)) step(event.key);
    });

    const has_focus = (id) => {
        const focus = document.activeElement.id;
        return focus === id || (focus.startsWith("{") && JSON.parse(focus).field === id.field);
    };

    window.dash_clientside = window.dash_clientside || {};
    window.dash_clientside.ropediag = {
        // The URL changed: what it selects in the capture that is shown, the browser knows itself; the rest it asks.
        locate(search, selection) {
            if (search === wanted) wanted = null;
            const now = resolve(search);
            if (!now) return [skip(), { search }, skip(), ...PLACE.map(skip)];
            want_all(now, window.location.pathname);
            return [now, skip(), null, ...PLACE.map((name) => (now[name] === selection[name] ? skip() : now[name]))];
        },

        // The selection changed, or a page was opened: panels, parts and controls want what belongs to it. Stores that
        // a page has for itself get the fields they use, if they changed.
        need(selection, path, ids, before, first, plan, ...offered) {
            Object.assign(told, { selection, first, offered, names: ids.map((id) => id.panel), ...plan });
            remember(selection || {});
            name_tab();
            if (!selection) return ids.map(skip);
            want_all(selection, path);
            early.splice(0).forEach(step);
            const own_stores = list_names(path).filter((name) => !told.kinds[name]);
            return told.names.map((name, step) => {
                const now = own_stores.includes(name) ? pick_fields(selection, name) : null;
                return now && !same(now, before[step]) ? now : skip();
            });
        },

        // Of the pages that stay, show the one that is open.
        show(path, ids) {
            return ids.map((id) => id.path !== (path || "/"));
        },

        // A row of a table was chosen: its fields go into the URL.
        pick_row(chosen, leads, path, search) {
            const index = chosen.findIndex((rows) => rows && rows.length && rows[0].pick);
            if (index < 0) return [skip(), skip()];
            const url = fields(search), now = { ...url, ...chosen[index][0].pick };
            const leave = leads[index] && leads[index] !== path ? leads[index] : skip(); // or the page is built anew
            return same(url, now) && !leads[index] ? [skip(), skip()] : [leave, query(now)];
        },

        // A control was used: its value goes into the URL. Only the one that has the focus was: all others echo what
        // they were told, and that a little later, when something else may be selected; those are told again. What the
        // URL asks for and no control offers counts as not there: the control shows its default then.
        choose(capture, layer, query_head, pair, values, ids, path, selection, search) {
            if (!selection) return skip();
            const url = fields(search), controls = [];
            for (const [name, value] of Object.entries({ capture, layer, query_head, pair }))
                controls.push({ name, value, id: `select-${name}`, now: selection[name] });
            ids.forEach((id, step) => {
                const name = id.field, { answer } = own.items[`choice-${name}`] || {};
                if (!answer || told.homes[`choice-${name}`] !== (path || "/")) return;
                const offered = answer.data.some((one) => one.value === url[name]);
                controls.push({ name, value: values[step], id, now: offered ? url[name] : answer.default });
            });
            const given = (value) => value !== null && value !== undefined;
            const strays = controls.filter(({ value, now }) => given(value) && value !== now);
            const used = strays.find(({ id }) => has_focus(id));
            for (const { id, now } of strays)
                if (given(now) && !has_focus(id)) window.dash_clientside.set_props(id, { value: now });
            if (!used) return skip();
            const chosen = query({ ...url, [used.name]: used.value });
            expect(path, chosen);
            return chosen;
        },

        // The page that is open, in the navigation.
        link(path, ids) {
            name_tab();
            return ids.map((id) => id.path === path);
        },
    };
})();
