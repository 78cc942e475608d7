package resolve

import (
	"os"
	"sync/atomic"
	"time"
)

const (
	lookEvery = 5 * time.Second // at files, for changes
	maxFile   = 16 << 20        // bytes of a file that is read: hosts files that block are long
)

// file is what a file says. It is read again when it has changed. What cannot
// be read says what it said before, at first as if it were empty.
type file[T any] struct {
	path  string // "" for what never changes
	parse func(text string, before *T) *T
	due   atomic.Int64 // when to look at it again
	last  atomic.Pointer[reading[T]]
}

type reading[T any] struct {
	info os.FileInfo // nil for never read
	said *T
}

func openFile[T any](path string, parse func(text string, before *T) *T) *file[T] {
	f := &file[T]{path: path, parse: parse}
	f.last.Store(&reading[T]{said: parse("", nil)})
	f.look()
	return f
}

// load looks at the file if that is due. One caller does, the others go on with
// what it said.
func (f *file[T]) load(now time.Time) *T {
	if f.path != "" {
		due := f.due.Load()
		if at := now.UnixNano(); at >= due && f.due.CompareAndSwap(due, at+int64(lookEvery)) {
			f.look()
		}
	}
	return f.last.Load().said
}

func (f *file[T]) look() {
	last := f.last.Load()
	info, err := os.Stat(f.path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxFile { // a pipe would have us wait
		return
	}
	if old := last.info; old != nil && os.SameFile(old, info) && old.Size() == info.Size() && old.ModTime().Equal(info.ModTime()) {
		return
	}
	if text, err := os.ReadFile(f.path); err == nil {
		f.last.Store(&reading[T]{info, f.parse(string(text), last.said)})
	}
}
