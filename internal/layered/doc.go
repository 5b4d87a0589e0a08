// Package layered lays out drawings of directed graphs without circles, the way of
// Sugiyama, Tagawa and Toda (1981): boxes stand in ranks, every edge leads from a
// rank to a later one, and what crosses is made little.
//
// Words: a rank is a row of the drawing, or a column where it grows to the right.
// Along is the direction in which ranks follow one another, across the other one. An
// edge over more than one rank keeps to a track in each rank between, a place of its
// own among the boxes. Edges of one source, or into one target, share their tracks,
// as wires share a trunk: a hundred readers of one output are one line that fans out.
// Between two ranks is a gap, which holds nothing but edges; so no edge can run
// through a box.
//
// The steps: rank (longest path, fold what is too wide), tracks, order within the
// ranks (barycentres, the best of some sweeps), position (least squares under the
// order). Equal graphs have equal drawings.
package layered
