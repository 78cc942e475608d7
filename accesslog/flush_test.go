package accesslog_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"viaduct/accesslog"
)

func TestEndWritesWhatIsLeft(t *testing.T) {
	d := new(disk)
	w := accesslog.New(d, accesslog.JSON)
	stop := run(w, unexpected(t))
	w.Add(entry())
	stop()
	if n := strings.Count(d.text(), "\n"); n != 1 {
		t.Errorf("%d lines at the end, want 1", n)
	}
}

func TestLineLeavesSoonByItself(t *testing.T) {
	d := new(disk)
	w := accesslog.New(d, accesslog.JSON)
	defer run(w, unexpected(t))()
	w.Add(entry())
	if !eventually(func() bool { return d.text() != "" }) {
		t.Error("a line was held back")
	}
}

func TestManyWriteWholeLines(t *testing.T) {
	const writers, lines = 16, 200
	d := new(disk)
	w := accesslog.New(d, accesslog.JSON)
	stop := run(w, unexpected(t))
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for j := range lines {
				e := entry()
				e.Status, e.Tries = i, j
				w.Add(e)
			}
		})
	}
	wg.Wait()
	stop()
	seen := map[string]bool{}
	for line := range strings.Lines(d.text()) {
		v := read(t, line)
		seen[fmt.Sprint(v["status"], "/", v["tries"])] = true
	}
	if len(seen) != writers*lines {
		t.Errorf("%d lines, want %d", len(seen), writers*lines)
	}
}

// A disk that hangs stops nobody: what it does not take is held back, up to a
// bound, and what is too much is counted.
func TestDiskThatHangsStopsNobody(t *testing.T) {
	d := new(disk)
	w := accesslog.New(d, accesslog.JSON)
	reports := make(chan error, 10)
	d.mu.Lock() // it hangs
	stop := run(w, func(err error) { reports <- err })
	line := len(lineOf(t, entry(), accesslog.JSON))
	const added = 16 << 20
	for range added / line {
		w.Add(entry())
	}
	d.mu.Unlock()
	var lost int
	if err := <-reports; err == nil {
		t.Fatal("nothing was lost?")
	} else if _, e := fmt.Sscanf(err.Error(), "%d lines dropped", &lost); e != nil {
		t.Fatalf("reported: %v", err)
	}
	w.Add(entry()) // this one is written, and that is reported
	if err := <-reports; err != nil {
		t.Errorf("reported: %v", err)
	}
	stop()
	kept := strings.Count(d.text(), "\n") - 1
	if kept+lost != added/line {
		t.Errorf("%d lines kept and %d lost of %d", kept, lost, added/line)
	}
	if most := 9 << 20 / line; kept > most || kept < 3<<20/line {
		t.Errorf("%d lines were held back, %d are the most", kept, most)
	}
}
