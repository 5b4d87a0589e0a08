// Package procgroup ends programs with all that they started.
//
// A program heads a process group: it and what it starts, unless that leaves the group
// (setsid, as daemons do). The group ends as one, and it ends when pipe dies, however it
// dies. Where there are no process groups, it is the program alone.
package procgroup
