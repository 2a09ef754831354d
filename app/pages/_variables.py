"""Which variables of a diagnostic a page offers, and what it calls them."""

import xarray as xr


def list_variables(measured: xr.Dataset, *others: xr.Dataset) -> dict[str, str]:
    """List the arrays of numbers that all of these hold, the one that the diagnostic shows first.

    Returns
    -------
    name -> name and meaning: a meaning alone, such as that of a standard error, can be that of several
    """
    names = [
        str(name)
        for name, values in measured.data_vars.items()
        if values.ndim and values.dtype.kind in "iufb" and all(name in other for other in others)
    ]
    shown = measured.attrs["shows"]
    return {
        name: f"{name.replace('_', ' ')}: {measured[name].attrs.get('long_name', name)}"
        for name in sorted(names, key=lambda name: name != shown)
    }
