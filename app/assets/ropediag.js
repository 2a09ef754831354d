// What runs in the browser: the URL is the state; clicks and controls change it, panels follow it.
(() => {
    const MARK = "#0ca678"; // the selected place on a map, on light and on dark
    const CLEAR = "rgba(0,0,0,0)";
    const EMPTY = {
        data: [],
        layout: { xaxis: { visible: false }, yaxis: { visible: false }, paper_bgcolor: CLEAR, plot_bgcolor: CLEAR },
    };
    const skip = () => window.dash_clientside.no_update;
    const fields = (search) => Object.fromEntries(new URLSearchParams(search || ""));
    const query = (values) => {
        const kept = Object.entries(values).filter(([, value]) => value != null && value !== "");
        return kept.length ? "?" + new URLSearchParams(kept).toString() : "";
    };
    const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
    const find_graph = (id) => {
        const graph = [...document.querySelectorAll(".dash-graph")].find((one) => one.id.includes(`"${id.panel}"`));
        return graph && graph.querySelector(".js-plotly-plot");
    };
    const triggered = () => (window.dash_clientside.callback_context.triggered[0] || {}).prop_id || "";

    // Replace every colour of a figure by its entry for dark pages; all else stays as it is.
    const darken = (value, table) => {
        if (typeof value === "string") return table[value] || value;
        if (Array.isArray(value)) return value.map((one) => darken(one, table));
        if (value && typeof value === "object" && !ArrayBuffer.isView(value) && value.bdata === undefined)
            return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, darken(one, table)]));
        return value;
    };

    const find = (axis, selection) => {
        const names = Object.keys(axis || {});
        if (!names.length) return -1;
        const count = axis[names[0]].length;
        for (let step = 0; step < count; step++)
            if (names.every((name) => String(axis[name][step]) === String(selection[name]))) return step;
        return -1;
    };

    // Outline the selected cell of a map whose columns and rows are numbered 0, 1, 2, ...
    const mark = (layout, selection) => {
        const meta = layout.meta || {};
        if (!meta.map || !selection) return [];
        const column = find(meta.columns, selection), row = find(meta.rows, selection);
        if (column < 0 || row < 0) return [];
        const line = { color: MARK, width: 2 };
        const cross = { type: "line", line: { color: MARK, width: 1, dash: "dot" }, layer: "above" };
        return [
            { type: "rect", x0: column - 0.5, x1: column + 0.5, y0: row - 0.5, y1: row + 0.5, line, layer: "above" },
            { ...cross, xref: "paper", x0: 0, x1: 1, y0: row, y1: row },
            { ...cross, yref: "paper", y0: 0, y1: 1, x0: column, x1: column },
        ];
    };

    // Tables follow the colour scheme of the page.
    const root = document.documentElement;
    const tell = () => (root.dataset.agThemeMode = root.getAttribute("data-mantine-color-scheme") || "light");
    new MutationObserver(tell).observe(root, { attributeFilter: ["data-mantine-color-scheme"] });
    tell();

    const copy = async (text, id, label) => {
        if (!text) return skip();
        const said = await navigator.clipboard.writeText(text).then(() => "Copied", () => "Not allowed");
        setTimeout(() => window.dash_clientside.set_props(id, { children: label }), 1500);
        return said;
    };

    let chosen = {}; // the selection, without the stamp of its file
    const name_tab = () => {
        const links = [...document.querySelectorAll("nav a")];
        const open = links.find((link) => link.pathname === window.location.pathname);
        document.title = [open && open.textContent, chosen.capture, "ropediag"].filter(Boolean).join(" \u00b7 ");
    };

    // Links of the navigation carry the selection: as addresses, for a new tab, and when they are clicked.
    // A path that stays is left out: told again, it would build its page anew.
    let wanted = null; // the query that was asked for last; the address follows a little later
    window.addEventListener("popstate", () => (wanted = null));
    const go = (pathname, search) => {
        wanted = search;
        window.dash_clientside.set_props("url", pathname === window.location.pathname ? { search } : { pathname, search });
    };
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

    // h and l go to the head on the left or right, j and k to the pair below or above, wherever nothing is typed.
    let offered = []; // what the controls offer: layers, heads, pairs
    const step = (key) => {
        const [layers, heads, pairs] = offered.map((options) => (options || []).map((one) => one.value));
        if (!layers || !layers.length || !heads.length || !pairs.length) return;
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

    // The range of an axis as the URL writes it, 12-3456, and as plotly does: logarithms on a logarithmic axis.
    const write_range = (axis, low, high) => {
        const real = [low, high].map((end) => (axis.type === "log" ? 10 ** end : end));
        return real.map((end) => Math.max(0, Math.round(end))).join("-");
    };
    const read_range = (axis, text) => {
        const real = /^\d+-\d+$/.test(text || "") ? text.split("-").map(Number) : null;
        if (!real || real[0] >= real[1]) return null;
        return axis.type === "log" ? real.map((end) => Math.log10(Math.max(end, 1))) : real;
    };

    const near = (one, other) => one.every((end, step) => Math.abs(end - other[step]) < 1e-3 * (1 + Math.abs(end)));
    const read_zoom = (figure, selection) =>
        read_range(figure.layout.xaxis || {}, (selection || {})[(figure.layout.meta || {}).zoom]);
    const is_dark = () => document.documentElement.getAttribute("data-mantine-color-scheme") === "dark";
    const list_shapes = (figure, selection, dark) => [
        ...darken(figure.layout.shapes || [], is_dark() ? dark : {}),
        ...mark(figure.layout, selection),
    ];

    window.dash_clientside = window.dash_clientside || {};
    window.dash_clientside.ropediag = {
        // The URL changed: what it selects in the capture that is shown, the browser knows itself; the rest it asks.
        locate(search, selection, first, layers, heads, pairs) {
            if (search === wanted) wanted = null;
            const offers = { layer: layers, query_head: heads, pair: pairs }, names = Object.keys(offers);
            const url = fields(search), stay = names.map(() => skip());
            const known = selection && selection.stamp && (url.capture || first) === selection.capture;
            const offered = (name) => (offers[name] || []).some((one) => one.value === url[name]);
            if (!known || !names.every(offered)) return [skip(), { search }, skip(), ...stay];
            const now = { ...url, capture: selection.capture, stamp: selection.stamp };
            return [now, skip(), null, ...names.map((name) => (url[name] === selection[name] ? skip() : url[name]))];
        },

        // Give each panel the fields it uses, if they changed.
        need(selection, path, ids, before, uses, homes) {
            return ids.map((id, step) => {
                const own = uses[id.panel];
                if (!selection || !own || homes[id.panel] !== (path || "/")) return skip();
                const names = own.includes("capture") ? [...own, "stamp"] : own;
                const known = names.filter((name) => selection[name] !== undefined);
                const now = Object.fromEntries(known.map((name) => [name, selection[name]]));
                return same(now, before[step]) ? skip() : now;
            });
        },

        // Of the pages that stay, show the one that is open.
        show(path, ids) {
            return ids.map((id) => id.path !== (path || "/"));
        },

        // Colours of the page, the mark of the selection and the zoom, on a figure as the server drew it. The toggle
        // says that the scheme changed; what it is now, the page itself says.
        dress(figure, toggled, selection, dark, id) {
            const drawn = find_graph(id);
            if (!figure) return drawn && drawn.data && drawn.data.length ? EMPTY : skip();
            const dressed = is_dark() ? darken(figure, dark) : figure;
            const range = read_zoom(figure, selection);
            const zoomed = range ? { xaxis: { ...dressed.layout.xaxis, range, autorange: false } } : {};
            return { ...dressed, layout: { ...dressed.layout, ...zoomed, shapes: list_shapes(figure, selection, dark) } };
        },

        // The selection changed: on figures that stay, move its mark and the zoom. Drawing a map of a large model
        // anew would take far longer.
        follow(selection, path, homes, figures, ids, dark, ...offers) {
            offered = offers;
            const { stamp, ...place } = selection || {};
            const url = fields(wanted === null ? window.location.search : wanted);
            const latest = Object.keys(url).every((name) => place[name] === undefined || place[name] === url[name]);
            if (latest || !chosen.capture) chosen = place; // not the answer to a key before the last
            name_tab();
            figures.forEach((figure, step) => {
                const drawn = find_graph(ids[step]);
                if (homes[ids[step].panel] !== (path || "/")) return; // it follows when its page is shown
                if (!figure || !drawn || !drawn.data || !drawn.data.length) return;
                const changes = {}, shapes = list_shapes(figure, selection, dark);
                if (!same(drawn.layout.shapes || [], shapes)) changes.shapes = shapes;
                if ((figure.layout.meta || {}).zoom) {
                    const axis = figure.layout.xaxis || {}, now = drawn._fullLayout.xaxis;
                    const range = read_zoom(figure, selection) || axis.range;
                    if (range && !near(range, now.range)) changes["xaxis.range"] = [...range];
                    if (!range && !now.autorange) changes["xaxis.autorange"] = true;
                }
                // update, not relayout: of that the graph would hear, and draw itself again
                if (Object.keys(changes).length) window.Plotly.update(drawn, {}, changes);
            });
            return skip();
        },

        // A click on a figure: what the clicked column and row stand for goes into the URL.
        pick(click, figure, id, leads, path, search) {
            if (!click || !click.points || !figure) return skip();
            const point = click.points[0], meta = figure.layout.meta || {}, changes = {};
            for (const [axis, value] of [[meta.columns, point.x], [meta.rows, point.y]]) {
                const step = meta.map ? Math.round(value) : point.pointNumber;
                for (const [name, values] of Object.entries(axis || {}))
                    if (values[step] !== undefined) changes[name] = String(values[step]);
            }
            if (Object.keys(changes).length)
                go(leads[id.panel] || path, query({ ...fields(search), ...changes }));
            return null; // the next click on the same cell is one again
        },

        // A figure was zoomed along lags or positions: all figures of the same axis follow.
        zoom(change, figure, id, leads, path, search) {
            const field = figure && (figure.layout.meta || {}).zoom;
            if (!field || !change) return skip();
            const url = fields(search), axis = figure.layout.xaxis || {};
            const ends = change["xaxis.range"] || [change["xaxis.range[0]"], change["xaxis.range[1]"]];
            let now = url[field];
            if (ends[0] !== undefined) now = axis.range && near(ends, axis.range) ? undefined : write_range(axis, ...ends);
            else if (change["xaxis.autorange"]) now = undefined;
            if (now !== url[field]) go(path, query({ ...url, [field]: now }));
            return skip();
        },

        // A row of a table was chosen: its fields go into the URL.
        pick_row(chosen, leads, path, search) {
            const index = chosen.findIndex((rows) => rows && rows.length && rows[0].pick);
            if (index < 0) return [skip(), skip()];
            const url = fields(search), now = { ...url, ...chosen[index][0].pick };
            const leave = leads[index] && leads[index] !== path ? leads[index] : skip(); // or the page is built anew
            return same(url, now) && !leads[index] ? [skip(), skip()] : [leave, query(now)];
        },

        // A control was used: its value goes into the URL. What the URL asks for and no control offers counts as not
        // there: the control shows its default then, and that is no use of it.
        choose(...given) {
            const [search, selection, path, homes, defaults, options, ids, choices] = given.slice(-8).reverse();
            const place = given.slice(0, -8);
            if (!selection) return skip();
            const url = fields(search), changes = {};
            ["capture", "layer", "query_head", "pair"].forEach((name, step) => {
                const value = place[step];
                if (value !== null && value !== undefined && value !== selection[name]) changes[name] = value;
            });
            ids.forEach((id, step) => {
                if (homes[`choice-${id.field}`] !== (path || "/")) return;
                const value = choices[step], asked = url[id.field], offered = options[step] || [];
                const now = offered.some((one) => one.value === asked) ? asked : defaults[step];
                if (value !== null && value !== undefined && value !== now) changes[id.field] = value;
            });
            return Object.keys(changes).length ? query({ ...url, ...changes }) : skip();
        },

        // The page that is open, in the navigation.
        link(path, ids) {
            name_tab();
            return ids.map((id) => id.path === path);
        },

        toggle(clicks, open) {
            return !open;
        },

        // A link to this view, with all that is selected, and the code of a figure: to the clipboard.
        copy_link(clicks, path, id) {
            return copy(window.location.origin + path + query({ ...chosen, ...fields(window.location.search) }), id, "Copy link");
        },
        copy_code(clicks, code, id) {
            return copy(code, id, "Copy");
        },

        // The picture of a figure, as it is on a light page.
        picture(png, svg, figure, id) {
            const format = triggered().includes('"svg"') ? "svg" : "png";
            const drawn = find_graph(id);
            if (figure && drawn) {
                const size = { width: drawn.offsetWidth, height: drawn.offsetHeight };
                const layout = { ...figure.layout, ...size };
                window.Plotly.downloadImage({ data: figure.data, layout }, { format, ...size, scale: 2, filename: id.panel });
            }
            return false;
        },
    };
})();
