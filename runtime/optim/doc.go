// Package optim turns gradients into updates: learning-rate schedules, clipping
// by the global norm, and AdamW over one flat buffer of parameters.
//
// A step is one update of the parameters, counted from 0. The peak is the
// highest learning rate of a schedule, warm-up the number of steps that lead up
// to it from zero, the horizon the step at which a falling schedule reaches zero.
// A schedule is a pure function of the step: no clock, no history.
package optim
