package turn

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Line is those who wait for something, first come first served. The zero Line
// is empty. Its methods may be called from any goroutine.
type Line[T any] struct {
	length  atomic.Int32 // to see that it is empty without the lock
	mu      sync.Mutex   // guards waiters; taken only while somebody waits
	waiters []*Waiter[T]
}

// Waiter is a place in a Line.
type Waiter[T any] struct {
	What T
	Turn chan struct{} // closed when it was served
}

// Join adds a waiter at the end, nil where there are as many as may.
func (l *Line[T]) Join(what T, most int) *Waiter[T] {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiters) >= most {
		return nil
	}
	w := &Waiter[T]{What: what, Turn: make(chan struct{})}
	l.waiters = append(l.waiters, w)
	l.length.Store(int32(len(l.waiters)))
	return w
}

// Leave takes a waiter out, unless it was served meanwhile: then it is false.
func (l *Line[T]) Leave(w *Waiter[T]) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.waiters, w)
	if i >= 0 {
		l.waiters = slices.Delete(l.waiters, i, i+1)
		l.length.Store(int32(len(l.waiters)))
	}
	return i >= 0
}

// Len is how many wait.
func (l *Line[T]) Len() int { return int(l.length.Load()) }

// Serve tries each in turn, until one is the last to be tried. Who is served
// leaves the line. The line is locked meanwhile: try must not ask it anything.
func (l *Line[T]) Serve(try func(what T) (served, last bool)) {
	if l.length.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	left := l.waiters[:0]
	for i, w := range l.waiters {
		served, last := try(w.What)
		if served {
			close(w.Turn)
		} else {
			left = append(left, w)
		}
		if last {
			left = append(left, l.waiters[i+1:]...)
			break
		}
	}
	clear(l.waiters[len(left):])
	l.waiters = left
	l.length.Store(int32(len(left)))
}
