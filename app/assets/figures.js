// The figures of panels: drawn as the server sent them; clicks and zooms on them become a new URL.
(() => {
    const MARK = "#0ca678"; // the selected place on a map, on light and on dark
    const CONFIG = {
        displaylogo: false,
        showSendToCloud: false,
        modeBarButtonsToRemove: ["toImage", "select2d", "lasso2d", "autoScale2d"],
    };
    const own = window.ropediag, { fields, query, same, told, items } = own;
    let selected = {}; // what maps mark

    const find_card = (name) => document.getElementById(`panel-${name}`);
    const is_dark = () => document.documentElement.getAttribute("data-mantine-color-scheme") === "dark";
    const near = (one, other) => one.every((end, step) => Math.abs(end - other[step]) < 1e-3 * (1 + Math.abs(end)));

    // ---- showing

    const show = async (name, { answer }) => {
        if (!window.Plotly) await new Promise((resolve) => window.addEventListener("load", resolve));
        const card = find_card(name), { figure, explain, code } = answer;
        if (!card || items[name].answer !== answer) return;
        tell(card, answer);
        card.querySelector(".explain").textContent = explain || "";
        card.querySelector(".code-lines").textContent = code || "";
        const box = card.querySelector(".figure"), before = items[name].drawn;
        box.hidden = !figure;
        if (before && before !== box) window.Plotly.purge(before);
        items[name].drawn = box;
        if (figure) draw(name);
    };
    const tell = (card, { message, fault, job, share }) => {
        const box = card.querySelector(".message");
        box.classList.toggle("fault", Boolean(fault));
        const bar = box.querySelector("progress");
        if (job && bar) return report(bar, share); // in place: a button keeps the focus
        box.replaceChildren(...(message ? [message] : []));
        if (job) box.append(...show_job(share));
    };
    const report = (bar, share) => {
        bar.value = share;
        bar.nextSibling.textContent = ` ${Math.round(100 * share)}% done `;
    };
    const make = (kind, values) => Object.assign(document.createElement(kind), values);
    const show_job = (share) => {
        const bar = make("progress", { ariaLabel: "share that is computed" }), word = make("span");
        const row = make("div");
        row.append(bar, word, show_button("Stop", "stop"));
        report(bar, share);
        return [row];
    };
    const show_button = (textContent, does) => {
        const button = make("button", { textContent, type: "button" });
        button.dataset.does = does;
        return button;
    };

    // ---- drawing

    // Replace every colour of a figure by its entry for dark pages; all else stays as it is.
    const darken = (value, table) => {
        if (typeof value === "string") return table[value] || value;
        if (Array.isArray(value)) return typeof value[0] === "number" ? value : value.map((one) => darken(one, table));
        if (value && typeof value === "object" && value.bdata === undefined)
            return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, darken(one, table)]));
        return value;
    };

    const find = (axis) => {
        const names = Object.keys(axis || {}), columns = Object.values(axis || {});
        if (!names.length) return -1;
        const wanted = names.map((name) => selected[name]);
        return columns[0].findIndex((_, step) => columns.every((one, at) => String(one[step]) === wanted[at]));
    };

    // Outline the selected cell of a map whose columns and rows are numbered 0, 1, 2, ...
    const mark = ({ meta = {} }) => {
        if (!meta.map) return [];
        const column = find(meta.columns), row = find(meta.rows);
        if (column < 0 || row < 0) return [];
        const line = { color: MARK, width: 2 };
        const cross = { type: "line", line: { color: MARK, width: 1, dash: "dot" }, layer: "above" };
        return [
            { type: "rect", x0: column - 0.5, x1: column + 0.5, y0: row - 0.5, y1: row + 0.5, line, layer: "above" },
            { ...cross, xref: "paper", x0: 0, x1: 1, y0: row, y1: row },
            { ...cross, yref: "paper", y0: 0, y1: 1, x0: column, x1: column },
        ];
    };
    const list_shapes = ({ layout }) => [
        ...darken(layout.shapes || [], is_dark() ? told.dark : {}),
        ...mark(layout),
    ];

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
    const read_zoom = ({ layout }) => read_range(layout.xaxis || {}, selected[(layout.meta || {}).zoom]);

    // Colours of the page, the mark of the selection and the zoom, on a figure as the server drew it.
    const draw = (name) => {
        const panel = items[name], box = panel.drawn, { figure } = panel.answer;
        panel.late = !box.offsetWidth; // on a hidden page: when it is shown
        if (panel.late) return sizes.observe(box);
        const dressed = is_dark() ? darken(figure, told.dark) : structuredClone(figure);
        const layout = { ...dressed.layout, shapes: list_shapes(figure) }, range = read_zoom(figure);
        if (range) layout.xaxis = { ...layout.xaxis, range, autorange: false };
        const fresh = !box._fullLayout;
        window.Plotly.react(box, dressed.data, layout, CONFIG);
        if (fresh) listen(name, box);
    };
    const sizes = new ResizeObserver((entries) => {
        for (const { target: box } of entries) {
            const name = box.closest("[id^=panel-]")?.id.slice("panel-".length), panel = items[name];
            if (!panel || panel.drawn !== box || !box.offsetWidth) continue;
            if (panel.late) draw(name);
            else if (box._fullLayout && box._fullLayout.width !== box.offsetWidth) window.Plotly.Plots.resize(box);
        }
    });

    // The selection changed: on figures that are drawn, move its mark and the zoom. Drawing a map of a large model
    // anew would take far longer.
    const follow = (name) => {
        const { drawn: box, answer } = items[name], { figure } = answer || {};
        if (!figure || !box || !box._fullLayout) return;
        const changes = {}, shapes = list_shapes(figure);
        if (!same(box.layout.shapes || [], shapes)) changes.shapes = shapes;
        if ((figure.layout.meta || {}).zoom) {
            const axis = figure.layout.xaxis || {}, now = box._fullLayout.xaxis;
            const range = read_zoom(figure) || axis.range;
            if (range && !near(range, now.range)) changes["xaxis.range"] = [...range];
            if (!range && !now.autorange) changes["xaxis.autorange"] = true;
        }
        if (Object.keys(changes).length) window.Plotly.update(box, {}, changes);
    };

    // ---- what a reader does

    const listen = (name, box) => {
        sizes.observe(box);
        box.on("plotly_click", (event) => pick(name, event));
        box.on("plotly_relayout", (change) => zoom(name, change));
        for (const [event, act] of Object.entries((own.listeners || {})[name] || {})) box.on(event, act);
    };

    // A click on a figure: what the clicked column and row stand for goes into the URL.
    const pick = (name, { points }) => {
        const { meta = {} } = items[name].answer.figure.layout, changes = {}, point = points[0];
        for (const [axis, value] of [[meta.columns, point.x], [meta.rows, point.y]]) {
            const step = meta.map ? Math.round(value) : point.pointNumber;
            for (const [field, values] of Object.entries(axis || {}))
                if (values[step] !== undefined) changes[field] = String(values[step]);
        }
        if (!Object.keys(changes).length) return;
        own.go(told.leads[name] || window.location.pathname, query({ ...fields(window.location.search), ...changes }));
    };

    // A figure was zoomed along lags or positions: all figures of the same axis follow.
    const zoom = (name, change) => {
        const { layout } = items[name].answer.figure, field = (layout.meta || {}).zoom;
        if (!field) return;
        const url = fields(window.location.search), axis = layout.xaxis || {};
        const ends = change["xaxis.range"] || [change["xaxis.range[0]"], change["xaxis.range[1]"]];
        let now = url[field];
        if (ends[0] !== undefined) now = axis.range && near(ends, axis.range) ? undefined : write_range(axis, ...ends);
        else if (change["xaxis.autorange"]) now = undefined;
        if (now !== url[field]) own.go(window.location.pathname, query({ ...url, [field]: now }));
    };

    // The picture of a figure, as it is on a light page.
    const save = (name, format) => {
        const { drawn: box, answer } = items[name] || {};
        if (!answer || !answer.figure) return;
        const size = { width: box.offsetWidth, height: box.offsetHeight }, { data, layout } = structuredClone(answer.figure);
        window.Plotly.downloadImage({ data, layout: { ...layout, ...size } }, { format, ...size, scale: 2, filename: name });
    };
    const copy = async (text, button) => {
        const label = button.querySelector(".mantine-Button-label").firstChild, before = label.nodeValue;
        label.nodeValue = await navigator.clipboard.writeText(text).then(() => "Copied", () => "Not allowed");
        setTimeout(() => (label.nodeValue = before), 1500);
    };
    const does = {
        png: (name) => save(name, "png"),
        svg: (name) => save(name, "svg"),
        csv: (name) => {
            const { need, answer } = items[name] || {};
            if (answer && answer.figure) make("a", { href: `/table/${name}${query(need)}`, download: "" }).click();
        },
        python: (name, card) => card.querySelector(".code").toggleAttribute("hidden"),
        copy: (name, card, button) => copy(items[name]?.answer?.code || "", button),
        stop: (name, card) => {
            const panel = items[name];
            fetch(`/stop/${panel.answer.job}`, { method: "POST" });
            panel.asking = null; // no more looks at it
            card.querySelector(".message").replaceChildren("Stopped. ", show_button("Start again", "start"));
        },
        start: (name) => own.ask(name),
    };
    document.addEventListener("click", (event) => {
        const button = event.target.closest("[data-does]"), card = button && button.closest("[id^=panel-]");
        if (card) does[button.dataset.does](card.id.slice("panel-".length), card, button);
    });

    new MutationObserver(() => {
        for (const [name, item] of Object.entries(items)) if (item.drawn) show(name, item);
    }).observe(document.documentElement, { attributeFilter: ["data-mantine-color-scheme"] });

    own.kinds.panel = { find: find_card, show };
    Object.assign(own, {
        copy,
        figure: (name) => items[name]?.answer?.figure,
        follow(selection, names) {
            selected = selection;
            names.filter((name) => items[name]?.drawn).forEach(follow);
        },
    });
})();
