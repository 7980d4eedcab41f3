//! Tells the version of CPython that this is built for, as the configurations `Py_3_11`, `Py_3_12`, …

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}
