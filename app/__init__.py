"""The dashboard: what a folder of captures says, in a browser; no request leaves the machine.

The URL is the state. Clicks and controls change it in the browser (``assets/ropediag.js``), the server
resolves it against the folder, and each panel whose fields changed is drawn anew (``wiring``). So every view
is a link, and the back button works. Pages wire: numbers come from ``ropediag.analysis``, figures from
``ropediag.plots``. Installed as ``ropediag.app``.
"""
