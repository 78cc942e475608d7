package accesslog_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"viaduct/accesslog"
)

// brief is that of an entry whose line says who added it, as which of his.
func brief(who, which int) *accesslog.Entry {
	e := entry()
	e.Method, e.Target = fmt.Appendf(nil, "W%d", who), fmt.Appendf(nil, "n%d", which)
	return e
}

// TestSwitchLosesNothing is a storm of lines through a log that is switched from
// file to file, and from format to format, under it.
func TestSwitchLosesNothing(t *testing.T) {
	const writers, switches, each = 8, 100, 10
	const lines = (switches + 1) * each // of a writer; all of them are less than is held back at the most
	dir := t.TempDir()
	create := func(i int) *os.File {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	order := []accesslog.Format{accesslog.JSON, accesslog.Squid, accesslog.Combined}
	file := create(0)
	w := accesslog.New(file, order[0])
	stop := run(w, unexpected(t)) // writing to a file that is closed fails
	var switched, added atomic.Int64
	var adding sync.WaitGroup
	for who := range writers {
		adding.Go(func() {
			for which := range lines {
				spin(func() bool { return int(switched.Load()) >= which/each })
				w.Add(brief(who, which))
				added.Add(1)
			}
		})
	}
	for i := 1; i <= switches; i++ {
		next := create(i)
		spin(func() bool { return int(added.Load()) >= writers*each*i-writers*each/2 }) // they are in the midst of it
		if err := w.Switch(next, order[i%len(order)]); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		file = next
		switched.Add(1)
	}
	adding.Wait()
	stop()
	_ = file.Close()
	next := make([]int, writers)
	used := 0
	for i := range switches + 1 {
		used += min(1, readFile(t, filepath.Join(dir, fmt.Sprint(i)), order[i%len(order)], next))
	}
	for who, n := range next {
		if n != lines {
			t.Errorf("%d lines of writer %d, want %d", n, who, lines)
		}
	}
	if w.Dropped() != 0 || used < switches {
		t.Errorf("%d lines dropped, %d files used", w.Dropped(), used)
	}
}

func spin(until func() bool) {
	for !until() {
		runtime.Gosched()
	}
}

// readFile reads a file's lines, of which those of each writer must go on where
// those of the file before ended.
func readFile(t *testing.T, name string, f accesslog.Format, next []int) (lines int) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var method, target string
		switch f {
		case accesslog.Squid:
			l := readSquid(t, line)
			method, target = l.method, l.target
		case accesslog.Combined:
			l := readCombined(t, line)
			method, target = l.method, l.target
		default:
			v := read(t, line)
			method, target = latin1(t, v["method"]), latin1(t, v["target"])
		}
		who, which := number(t, method[1:]), int(number(t, target[1:]))
		if next[who] != which {
			t.Fatalf("%s: line %d of writer %d, want %d", name, which, who, next[who])
		}
		next[who]++
		lines++
	}
	return lines
}

func TestSwitchWritesOutFirst(t *testing.T) {
	before, after := new(disk), new(disk)
	w := accesslog.New(before, accesslog.JSON)
	stop := run(w, unexpected(t))
	w.Add(brief(1, 1))
	if err := w.Switch(after, accesslog.Squid); err != nil {
		t.Fatal(err)
	}
	if v := read(t, before.text()); v["method"] != "W1" {
		t.Errorf("got %v", v)
	}
	w.Add(brief(2, 2))
	stop()
	if l := readSquid(t, after.text()); l.method != "W2" {
		t.Errorf("got %+v", l)
	}
	if n := strings.Count(before.text(), "\n"); n != 1 {
		t.Errorf("%d lines in the old one", n)
	}
}

func TestLogIsSwitchedOffAndOn(t *testing.T) {
	first, second := new(disk), new(disk)
	w := accesslog.New(first, accesslog.Combined)
	stop := run(w, unexpected(t))
	heads := []bool{w.Heads()}
	w.Add(brief(1, 1))
	err1 := w.Switch(nil, accesslog.Combined)
	heads = append(heads, w.Heads())
	w.Add(brief(2, 2))
	err2 := w.Switch(nil, accesslog.JSON)
	err3 := w.Switch(second, accesslog.JSON)
	heads = append(heads, w.Heads())
	w.Add(brief(3, 3))
	stop()
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Error(err)
	}
	if l := readCombined(t, first.text()); l.method != "W1" {
		t.Errorf("got %+v", l)
	}
	if v := read(t, second.text()); v["method"] != "W3" {
		t.Errorf("got %v", v)
	}
	if want := []bool{true, false, false}; !slices.Equal(heads, want) || w.Dropped() != 0 {
		t.Errorf("heads %v, want %v; %d lines dropped", heads, want, w.Dropped())
	}
}

// A disk that hangs keeps neither Switch nor Add, nor the new one from getting
// its lines. What waits behind the write that hangs is dropped.
func TestSwitchFromADiskThatHangs(t *testing.T) {
	before, after := new(disk), new(disk)
	w := accesslog.New(before, accesslog.JSON)
	before.mu.Lock() // it hangs
	stop := run(w, unexpected(t))
	const added = 1000
	w.Add(entry())
	if !eventually(func() bool { return before.tries.Load() > 0 }) {
		t.Fatal("nothing is written")
	}
	for range added - 1 {
		w.Add(entry())
	}
	if err := w.Switch(after, accesslog.JSON); !errors.Is(err, accesslog.ErrHangs) {
		t.Fatalf("switched: %v", err)
	}
	dropped := w.Dropped()
	w.Add(brief(1, 1))
	if !eventually(func() bool { return after.text() != "" }) {
		t.Fatal("the new one gets no lines")
	}
	before.mu.Unlock()
	stop()
	kept := uint64(strings.Count(before.text(), "\n"))
	if kept == 0 || dropped == 0 || kept+dropped != added || w.Dropped() != dropped {
		t.Errorf("%d lines kept and %d dropped of %d, and then %d", kept, dropped, added, w.Dropped())
	}
	if n := strings.Count(after.text(), "\n"); n != 1 {
		t.Errorf("%d lines in the new one", n)
	}
}

// A log whose disks hang one by one holds nothing for them.
func TestManyDisksHang(t *testing.T) {
	var hanging []*disk
	w := accesslog.New(nil, accesslog.JSON)
	stop := run(w, func(error) {})
	var waiting sync.WaitGroup
	for range 20 {
		d := new(disk)
		d.mu.Lock()
		hanging = append(hanging, d)
		waiting.Go(func() {
			if err := w.Switch(d, accesslog.JSON); err != nil && !errors.Is(err, accesslog.ErrHangs) {
				t.Error(err)
			}
		})
		for range 100 {
			w.Add(entry())
		}
	}
	waiting.Wait()
	last := new(disk)
	_ = w.Switch(last, accesslog.JSON)
	w.Add(entry())
	if !eventually(func() bool { return last.text() != "" }) {
		t.Error("the last one gets no lines")
	}
	for _, d := range hanging {
		d.mu.Unlock()
	}
	stop()
}

func TestSwitchBeforeRun(t *testing.T) {
	first, second, third := new(disk), new(disk), new(disk)
	w := accesslog.New(first, accesslog.JSON)
	if err := w.Switch(second, accesslog.JSON); err != nil {
		t.Errorf("with nothing to write: %v", err)
	}
	w.Add(entry())
	if err := w.Switch(third, accesslog.JSON); !errors.Is(err, accesslog.ErrHangs) || w.Dropped() != 1 {
		t.Errorf("with nobody to write: %v, %d lines dropped", err, w.Dropped())
	}
	w.Add(entry())
	run(w, unexpected(t))()
	if first.text() != "" || second.text() != "" || strings.Count(third.text(), "\n") != 1 {
		t.Errorf("%q, %q and %q", first.text(), second.text(), third.text())
	}
}

func TestSwitchAfterRun(t *testing.T) {
	d := new(disk)
	w := accesslog.New(d, accesslog.JSON)
	w.Add(entry())
	run(w, unexpected(t))()
	if err := w.Switch(new(disk), accesslog.JSON); err != nil {
		t.Error(err)
	}
	if err := w.Switch(nil, accesslog.JSON); err != nil {
		t.Error(err)
	}
	if n := strings.Count(d.text(), "\n"); n != 1 {
		t.Errorf("%d lines", n)
	}
}

// A new file is the way out of a full disk, and the operator is told that it
// worked.
func TestSwitchFromADiskThatIsFull(t *testing.T) {
	full, good := &disk{err: errors.New("disk full")}, new(disk)
	reports := make(chan error, 10)
	w := accesslog.New(full, accesslog.JSON)
	stop := run(w, func(err error) { reports <- err })
	for range 3 {
		w.Add(entry())
	}
	if err := w.Switch(good, accesslog.JSON); err != nil {
		t.Error(err)
	}
	w.Add(entry())
	stop()
	close(reports)
	var got []string
	for err := range reports {
		got = append(got, fmt.Sprint(err))
	}
	if want := []string{"disk full", "<nil>"}; !slices.Equal(got, want) {
		t.Errorf("reported %q, want %q", got, want)
	}
	if w.Dropped() != 3 {
		t.Errorf("%d lines dropped", w.Dropped())
	}
}

// half takes half of what it is given.
type half struct{ disk }

func (h *half) Write(p []byte) (int, error) {
	n, _ := h.disk.Write(p[:len(p)/2])
	return n, errors.New("disk full")
}

func TestLinesOfAWriteThatBreaksAreCounted(t *testing.T) {
	h := new(half)
	w := accesslog.New(h, accesslog.JSON)
	for range 9 {
		w.Add(entry())
	}
	run(w, func(error) {})()
	if whole := uint64(strings.Count(h.text(), "\n")); whole+w.Dropped() != 9 {
		t.Errorf("%d whole lines and %d dropped, of 9", whole, w.Dropped())
	}
}
