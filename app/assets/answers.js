// What a page shows: each of its panels, parts and controls fetches its answer from the server (app/answers.py).
(() => {
    const POLL = 400; // milliseconds between two looks at a background job
    const SLOW = 400; // milliseconds after which what is waited for fades
    const own = window.ropediag, { query, same } = own;
    const items = {}; // name -> need: fields that were asked for, answer: of the server, box: where it is shown
    const kinds = {}; // kind -> find(name): the element, show(name, item): what is done with an answer
    const kind_of = (name) => kinds[own.told.kinds[name]];

    const fetch_answer = async (name, need, signal) => {
        const kind = own.told.kinds[name];
        try {
            const response = await fetch(`/${kind}/${name.replace("choice-", "")}${query(need)}`, { signal });
            if (response.ok) return await response.json();
            return { message: `The dashboard answered with status ${response.status}.`, fault: true };
        } catch (error) {
            return { message: "The dashboard no longer answers. Start ropediag dash again, then reload.", fault: true };
        }
    };
    // The page may come a little later than what stands on it.
    const wait_for = async (name) => {
        const { find } = kind_of(name);
        for (let step = 0; step < 100 && !find(name); step++) await new Promise((go_on) => setTimeout(go_on, 20));
        return find(name);
    };
    const ask = async (name) => {
        const item = items[name], { need } = item, asking = new AbortController();
        if (item.asking) item.asking.abort();
        item.asking = asking;
        const slow = setTimeout(() => kind_of(name).find(name)?.setAttribute("aria-busy", "true"), SLOW);
        const answer = await fetch_answer(name, need, asking.signal);
        const box = await wait_for(name);
        clearTimeout(slow);
        if (item.asking !== asking) return;
        if (!box) return (item.need = null); // the page was left
        box.removeAttribute("aria-busy");
        const before = item.answer;
        Object.assign(item, { answer, box });
        await kind_of(name).show(name, item, before);
        if (answer.job) setTimeout(() => item.asking === asking && ask(name), POLL);
    };

    // What is on the screen comes first; what lies above or below it follows, one after the other.
    const later = new Set();
    let pending = 0;
    const go_on = () => {
        const [name] = later;
        if (pending || !name) return;
        later.delete(name);
        requestIdleCallback(() => ask_now(name), { timeout: 200 });
    };
    const ask_now = async (name) => {
        pending += 1;
        await ask(name);
        pending -= 1;
        go_on();
    };
    const on_screen = (box) => {
        const { top, bottom, height } = box.getBoundingClientRect();
        return !height || (top < window.innerHeight && bottom > 0); // or its page is about to be shown
    };
    const want = (name, need) => {
        const item = (items[name] = items[name] || {}), box = kind_of(name).find(name);
        if (same(item.need, need) && (!item.box || item.box.isConnected)) return;
        item.need = need;
        later.delete(name);
        if (!box || on_screen(box)) ask_now(name);
        else later.add(name);
        go_on();
    };

    // ---- parts and controls

    const find = (id) => document.getElementById(JSON.stringify(id)); // as Dash writes it: keys in order
    const set = (id, values) => window.dash_clientside.set_props(id, values);
    kinds.part = {
        find: (name) => find({ panel: name, type: "part" }),
        show: (name, { answer }) => set({ type: "part", panel: name }, { children: answer.message || answer.children }),
    };
    const field_of = (name) => name.replace("choice-", "");
    kinds.choice = {
        find: (name) => find({ field: field_of(name), type: "choice" }),
        show(name, { answer, box }, before = {}) {
            const values = { data: answer.data || [], value: answer.value };
            if (same(values.data, before.data) && box.isConnected && items[name].shown === box) delete values.data;
            items[name].shown = box;
            set({ type: "choice", field: field_of(name) }, values);
        },
    };

    Object.assign(own, { items, kinds, same, want, ask });
})();
