//! Holds nothing: the examples lie beside this folder, one file each.
