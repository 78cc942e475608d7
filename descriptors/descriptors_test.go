package descriptors_test

import (
	"net"
	"testing"
	"time"

	"viaduct/descriptors"
)

func TestLevelsGrowWithTheNumbers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	limits, err := descriptors.Read()
	if err != nil {
		t.Fatal(err)
	}
	if got := limits.At(c.(*net.TCPConn)); got != descriptors.Plenty {
		t.Errorf("%d with few open files", got)
	}
	var none descriptors.Limits
	if got := none.At(c.(*net.TCPConn)); got != descriptors.Most {
		t.Errorf("%d where none may be open", got)
	}
}

func TestATallyIsToldNowAndThen(t *testing.T) {
	var tally descriptors.Tally
	if n := tally.Count(time.Hour); n != 1 {
		t.Errorf("%d, want the first", n)
	}
	for range 3 {
		if n := tally.Count(time.Hour); n != 0 {
			t.Errorf("%d within the hour", n)
		}
	}
	if n := tally.Count(0); n != 4 {
		t.Errorf("%d, want all since", n)
	}
}
