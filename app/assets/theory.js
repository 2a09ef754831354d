// The calculator of the theory page: its boxes show the settings of the URL, and a change in them changes it.
(() => {
    const skip = () => window.dash_clientside.no_update;
    const { fields: read, query } = window.ropediag;
    const triggered = () => (window.dash_clientside.callback_context.triggered[0] || {}).prop_id || "";
    const plain = (value) => String(value ?? "").replace(/[,\s_*]/g, "");
    const grouped = (value) => value.replace(/^\d{4,}$/, (digits) => digits.replace(/\B(?=(\d{3})+$)/g, ","));

    // Settings are parted by *, fields by _, a key from its value by the first -.
    const parse = (text) =>
        text.split("*").map((one) =>
            Object.fromEntries(
                one.split("_").filter((part) => part.includes("-")).map((part) => {
                    const at = part.indexOf("-");
                    return [part.slice(0, at), part.slice(at + 1)];
                })
            )
        );
    const write = (settings) =>
        settings.map((one) =>
            Object.entries(one).filter(([, value]) => value !== "").map(([key, value]) => `${key}-${value}`).join("_")
        ).join("*");
    const now = (search, presets) => parse(read(search).settings || presets[0] || "");
    const go = (search, settings) => query({ ...read(search), settings: write(settings) });

    // A change in a box comes back as a new URL while the next one may be typed already: it must not be undone.
    const LATE = 3000; // milliseconds after which a URL is no echo any more
    let sent = []; // what boxes wrote into the URL and has not come back
    const send = (search, settings) => {
        sent.push({ text: write(settings), at: performance.now() });
        return go(search, settings);
    };
    const is_echo = (search) => {
        sent = sent.filter(({ at }) => performance.now() - at < LATE);
        const place = sent.findIndex(({ text }) => text === read(search).settings);
        sent = sent.slice(place + 1);
        return place >= 0;
    };

    window.dash_clientside = window.dash_clientside || {};
    window.dash_clientside.theory = {
        // Show the settings of the URL: values of all boxes, which rows there are, whether there is room for more.
        fill(need, search, preset, ids, values, rows, before) {
            const settings = now(search, preset), echo = is_echo(search);
            const shown = ids.map(({ row, field }, step) => {
                if (echo) return skip();
                const wanted = (settings[row] || {})[field] || (field === "rule" ? "none" : "");
                return plain(values[step]) === wanted ? skip() : grouped(wanted);
            });
            const styles = rows.map(({ row }, step) => {
                const hidden = row >= settings.length;
                return hidden === Boolean((before[step] || {}).display) ? skip() : hidden ? { display: "none" } : {};
            });
            return [shown, styles, settings.length >= rows.length];
        },

        // A box was changed: its value goes into the URL.
        edit(values, ids, search, preset) {
            const settings = now(search, preset);
            if (!values.length || values.every((value) => value === null || value === undefined)) return skip();
            const found = settings.map(() => ({}));
            let changed = false;
            ids.forEach(({ row, field }, step) => {
                if (row >= settings.length) return;
                const value = plain(values[step]) === "none" ? "" : plain(values[step]);
                if (value !== (settings[row][field] || "")) changed = true;
                if (value) found[row][field] = value;
            });
            return changed ? send(search, found) : skip();
        },

        // A setting is added, copied or removed, or all are replaced.
        arrange(add, copies, removes, chosen, search, preset) {
            const settings = now(search, preset), by = triggered();
            if (by.startsWith("theory-preset")) return chosen ? [go(search, parse(chosen)), null] : [skip(), skip()];
            if (by.startsWith("theory-add") && add) return [go(search, [...settings, settings.at(-1)]), skip()];
            const id = by.startsWith("{") ? JSON.parse(by.slice(0, by.lastIndexOf("."))) : {};
            const pressed = { copy: copies, remove: removes }[id.type?.replace("setting-", "")] || [];
            if (!pressed[id.row]) return [skip(), skip()];
            const copied = settings.slice(id.row, id.row + (id.type === "setting-copy" ? 1 : 0));
            const rest = [...settings.slice(0, id.row + copied.length), ...copied, ...settings.slice(id.row + 1)];
            return [go(search, rest.length ? rest.slice(0, pressed.length) : parse(preset[0] || "")), skip()];
        },
    };
})();
