// The fields of the page's URL, as all other scripts read and write them.
(() => {
    window.ropediag = {
        // As the wiring told last: what is selected, what the controls offer, the names of all panels, parts and
        // controls in the document, and of each its kind, the fields it uses and its page; where clicks on panels lead, and the colours of dark pages.
        told: { selection: null, offered: [], names: [], kinds: {}, uses: {}, homes: {}, leads: {}, dark: {} },

        same: (a, b) => JSON.stringify(a) === JSON.stringify(b),
        fields: (search) => Object.fromEntries(new URLSearchParams(search || "")),
        query: (values) => {
            const kept = Object.entries(values).filter(([, value]) => value != null && value !== "");
            return kept.length ? "?" + new URLSearchParams(kept).toString() : "";
        },
    };
})();
