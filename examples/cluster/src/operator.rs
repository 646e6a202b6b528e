//! The commands of operators, over the REST interface.
