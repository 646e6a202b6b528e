//! Data structures that know nothing about slots. Each could be a crate of its own.

pub(crate) mod arena;
pub(crate) mod backoff_queues;
pub(crate) mod buckets;
pub(crate) mod cover_tree;
pub(crate) mod deadline_list;
pub(crate) mod fingerprint_table;
pub(crate) mod fit_sets;
pub(crate) mod id_index;
pub(crate) mod interner;
pub(crate) mod linked_list;
pub(crate) mod mask_tree;
pub(crate) mod pages;
pub(crate) mod tournament_tree;
