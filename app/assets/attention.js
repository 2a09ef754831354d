// The attention map: zooming writes the rectangle into the URL, hovering names both tokens in their text.
(() => {
    const PLURAL = { query: "queries", key: "keys" };
    const skip = () => window.dash_clientside.no_update;
    const change = (search, changes) => {
        const url = new URLSearchParams(search || "");
        for (const [name, value] of Object.entries(changes)) value === null ? url.delete(name) : url.set(name, value);
        const now = url.toString() ? "?" + url.toString() : "";
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

    window.dash_clientside = window.dash_clientside || {};
    window.dash_clientside.ropediag_attention = {
        zoom(moved, figure, search) {
            if (!moved || !figure) return skip();
            if (moved["xaxis.autorange"] || moved["yaxis.autorange"]) return change(search, { region: null });
            const length = figure.layout.meta.length, now = shown(figure);
            const ends = (axis) => [moved[`${axis}.range[0]`], moved[`${axis}.range[1]`]];
            const [queries, keys] = [ends("yaxis"), ends("xaxis")];
            if (queries[0] === undefined && keys[0] === undefined) return skip();
            const region = [
                ...(queries[0] === undefined ? now.slice(0, 2) : cover(...queries, length)),
                ...(keys[0] === undefined ? now.slice(2) : cover(...keys, length)),
            ];
            return change(search, { region: write(region) });
        },

        // Twice as far in both directions, around the same middle.
        out(clicks, figure, search) {
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

        whole(clicks, figure, search) {
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

        // Both tokens of the cell under the pointer, each in its text, and its value.
        tokens(hover, figure) {
            const nothing = Array(9).fill(skip());
            if (!hover || !hover.points || !figure || !figure.layout.meta) return nothing;
            const point = hover.points[0];
            const named = [["query", point.y], ["key", point.x]].flatMap(([name, value]) => {
                const side = figure.layout.meta[name], step = step_of(side, value);
                const first = side.first[step];
                const stop = Math.min(first + side.step, figure.layout.meta.length);
                const [from, to] = [first, stop - 1].map((at) => at.toLocaleString("en"));
                const place = from === to ? `${name} ${from}` : `${PLURAL[name]} ${from} to ${to}`;
                return [place, ...((side.text || [])[step] || ["", "", ""])];
            });
            return [...named, `logit ${Number(point.z).toPrecision(4)}`];
        },
    };
})();
