package hop_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"viaduct/fault"
	"viaduct/hop"
)

func TestATagSaysNothingButThatAViaductStandsThere(t *testing.T) {
	if got := hop.NewTag(0xfedc); got != "viaduct-000000000000fedc" {
		t.Error(got)
	}
}

func TestTrailsAreToldOnAndRecognized(t *testing.T) {
	own, other := hop.NewTag(1), hop.NewTag(2)
	in := func(tags ...hop.Tag) string {
		var elements []string
		for _, tag := range tags {
			elements = append(elements, "1.1 "+string(tag))
		}
		return strings.Join(elements, ", ")
	}
	for _, c := range []struct {
		name string
		via  []string // fields
		want string   // for a parent; "" where the request goes in a loop
	}{
		{"nothing came", nil, in(own)},
		{"others stand before", []string{"1.0 fred, 1.1 viaduct"}, in(own)},
		{"another of our kind", []string{in(other)}, in(other, own)},
		{"in two fields", []string{"1.1 p.example.net (Squid), " + in(other), in(hop.NewTag(3))}, in(other, hop.NewTag(3), own)},
		{"itself", []string{in(other, own)}, ""},
		{"itself, by another protocol and spaced", []string{" ,2 viaduct-0000000000000001 ,"}, ""},
		{"itself, with a comment", []string{"1.1 viaduct-0000000000000001 (v1)"}, in(own)},
		{"nearly a tag", []string{"1.1 viaduct-00000000000000001, 1.1 viaduct-000000000000000G, 1.1 viaduct-, viaduct-0000000000000001"}, in(own)},
		{"fifteen", []string{in(tags(15)...)}, in(append(tags(15), own)...)},
		{"sixteen", []string{in(tags(16)...)}, ""},
		{"a thousand", []string{in(tags(1000)...)}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var trail hop.Trail
			for _, via := range c.via {
				trail.Pass([]byte(via))
			}
			err := trail.Check(own)
			if bad, _ := errors.AsType[*fault.Error](err); c.want == "" {
				if bad == nil || bad.Kind != fault.LoopDetected || bad.Status() != 421 {
					t.Errorf("%v", err)
				}
				return
			}
			if got := string(trail.AppendVia(nil, 1, own)); err != nil || got != c.want {
				t.Errorf("%v, %q, want %q", err, got, c.want)
			}
		})
	}
}

// tags are n tags of others.
func tags(n int) (all []hop.Tag) {
	for i := range n {
		all = append(all, hop.NewTag(uint64(100+i)))
	}
	return all
}

func TestTheLastOfAChainTakesTagsOut(t *testing.T) {
	tag := "1.1 " + string(hop.NewTag(7))
	for _, c := range []struct{ in, want string }{
		{"1.1 fred", "1.1 fred"},
		{tag, ""},
		{tag + ", 1.0 fred,," + tag + ",1.1 viaduct", "1.0 fred, 1.1 viaduct"},
		{" , ", ""},
	} {
		if got := string(hop.AppendUntagged([]byte("x"), []byte(c.in))); got != "x"+c.want {
			t.Errorf("%q: %q", c.in, got)
		}
	}
}

func TestTheVersionThatCameIsTold(t *testing.T) {
	if got := string((&hop.Trail{}).AppendVia(nil, 0, hop.NewTag(1))); got != fmt.Sprintf("1.0 %s", hop.NewTag(1)) {
		t.Error(got)
	}
}
