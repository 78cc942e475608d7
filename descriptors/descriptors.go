// Package descriptors knows when open files become scarce.
package descriptors

import (
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// Level is how scarce they are.
type Level uint8

// The levels.
const (
	Plenty Level = iota
	Scarce       // idle connections are to be given up
	Last         // clients are to be turned away: the rest is for serving those that are in
	Most         // without a word
)

// Limits are where the levels begin. The zero Limits are those of nobody: see Read.
type Limits struct{ scarce, last, most int }

// fewest is how many files must be allowed to be open.
const fewest = 128

// Read makes the limits of this process. Go raises the soft limit to the hard one at
// the start.
func Read() (Limits, error) {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil || r.Cur > 1<<30 {
		r.Cur = 1 << 30
	}
	limit := int(r.Cur)
	if limit < fewest {
		return Limits{}, fmt.Errorf("only %d files may be open at a time: raise the limit (ulimit -n, LimitNOFILE=) to 1024 or more", limit)
	}
	reserve := max(limit/16, 16)
	return Limits{limit - 2*reserve, limit - reserve, limit - reserve + reserve/4}, nil
}

// At is the level when a connection has come in. The kernel gives the lowest number
// that is free: as many at least are in use.
func (l Limits) At(nc *net.TCPConn) Level {
	n := 0
	if raw, err := nc.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { n = int(fd) })
	}
	switch {
	case n >= l.most:
		return Most
	case n >= l.last:
		return Last
	case n >= l.scarce:
		return Scarce
	}
	return Plenty
}

// Tally counts what is not told each time.
type Tally struct {
	n    atomic.Int64
	told atomic.Int64 // when, in ns since 1970
}

// Count counts one; when it has not been told for that long, it returns how many there
// were since, else 0.
func (t *Tally) Count(every time.Duration) int64 {
	t.n.Add(1)
	told, now := t.told.Load(), time.Now().UnixNano()
	if now-told < int64(every) || !t.told.CompareAndSwap(told, now) {
		return 0
	}
	return t.n.Swap(0)
}
