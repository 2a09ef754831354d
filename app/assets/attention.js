// The attention map: zooming writes the rectangle into the URL, hovering names both tokens in their text.
(() => {
    const MAP = "score-map";
    const PLURAL = { query: "queries", key: "keys" };
    const own = window.ropediag;
    const skip = () => window.dash_clientside.no_update;
    const change = (search, changes) => {
        const now = own.query({ ...own.fields(search), ...changes });
        return now === (search || "") ? skip() : now;
    };
    const write = (region) => `${region[0]}-${region[1]},${region[2]}-${region[3]}`;
    // A position p takes the axis from p - 0.5 to p + 0.5; at least one of them.
    const cover = (a, b, length) => {
        const first = Math.min(Math.max(Math.floor(Math.min(a, b) + 0.5), 0), length - 1);
        return [first, Math.min(Math.max(Math.ceil(Math.max(a, b) + 0.5), first + 1), length)];
    };
    const shown = ({ layout }) =>
        [layout.yaxis, layout.xaxis].flatMap((axis) => cover(...axis.range, layout.meta.length));
    const step_of = (side, value) => Math.round((value - (side.step - 1) / 2 - side.first[0]) / side.step);

    const zoom = (moved) => {
        const search = window.location.search, figure = own.figure(MAP);
        const go = (region) => {
            const now = change(search, { region });
            if (typeof now === "string") own.go(window.location.pathname, now);
        };
        if (moved["xaxis.autorange"] || moved["yaxis.autorange"]) return go(null);
        const length = figure.layout.meta.length, now = shown(figure);
        const ends = (axis) => [moved[`${axis}.range[0]`], moved[`${axis}.range[1]`]];
        const [queries, keys] = [ends("yaxis"), ends("xaxis")];
        if (queries[0] === undefined && keys[0] === undefined) return;
        go(write([
            ...(queries[0] === undefined ? now.slice(0, 2) : cover(...queries, length)),
            ...(keys[0] === undefined ? now.slice(2) : cover(...keys, length)),
        ]));
    };

    // Both tokens of the cell under the pointer, each in its text, and its value.
    const name_tokens = ({ points }) => {
        const { meta } = own.figure(MAP).layout, point = points[0];
        const write = (id, text) => (document.getElementById(`attention-${id}`).textContent = text);
        for (const [name, value] of [["query", point.y], ["key", point.x]]) {
            const side = meta[name], step = step_of(side, value), first = side.first[step];
            const [from, to] = [first, Math.min(first + side.step, meta.length) - 1].map((at) => at.toLocaleString("en"));
            write(`${name}-place`, from === to ? `${name} ${from}` : `${PLURAL[name]} ${from} to ${to}`);
            const text = (side.text || [])[step] || ["", "", ""];
            ["before", "token", "after"].forEach((part, at) => write(`${name}-${part}`, text[at]));
        }
        write("value", `logit ${Number(point.z).toPrecision(4)}`);
    };
    own.listeners = { ...own.listeners, [MAP]: { plotly_relayout: zoom, plotly_hover: name_tokens } };

    window.dash_clientside = window.dash_clientside || {};
    window.dash_clientside.ropediag_attention = {
        // Twice as far in both directions, around the same middle.
        out(clicks, search) {
            const figure = own.figure(MAP);
            if (!clicks || !figure) return skip();
            const length = figure.layout.meta.length, now = shown(figure);
            const wider = (first, stop) => {
                const size = Math.min(2 * (stop - first), length);
                const start = Math.min(Math.max(Math.round((first + stop - size) / 2), 0), length - size);
                return [start, start + size];
            };
            const region = [...wider(now[0], now[1]), ...wider(now[2], now[3])];
            const whole = region[1] - region[0] >= length && region[3] - region[2] >= length;
            return change(search, { region: whole ? null : write(region) });
        },

        whole(clicks, search) {
            return clicks ? change(search, { region: null }) : skip();
        },

        head(value, selection, search) {
            if (!value || !selection) return skip();
            const [layer, query_head] = value.split(":");
            if (layer === selection.layer && query_head === selection.query_head) return skip();
            return change(search, { layer, query_head });
        },

        pairs(value, search) {
            return value && value.trim() ? change(search, { what: value.replaceAll(" ", "") }) : skip();
        },
    };
})();
