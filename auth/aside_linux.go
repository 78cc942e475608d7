package auth

import (
	"runtime"
	"syscall"
)

// niceness is how far a hash stands back behind requests: under load it gets a
// tenth of a processor, and all that is idle.
const niceness = 10

// stepAside lets everybody else go first for the rest of this goroutine, which
// must do nothing else afterwards: a hash takes a processor for tens of
// milliseconds, and the scheduler of Go knows no priorities. The thread stays
// locked, so that it ends with the goroutine, and others do not inherit its rank.
func stepAside() {
	runtime.LockOSThread()
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, niceness) // of this thread (setpriority(2)); never refused
}
