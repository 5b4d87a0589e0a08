// Package explain tells from records and histories why a stage ran, in what two runs
// differ, and what a result was made of.
//
// It compares two snapshots: a stage as a run had it, and as an earlier run of the
// same pipeline and profile had it, or as a run would have it now. Keys say whether
// something moved, pre-images which parameter or input, and the inputs that the store
// keeps which record. A Cause that another stage made other bytes has that stage's
// own Causes below it, and so on up to what nobody but a person can have changed.
package explain
