package main

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestOriginCountsWhatParentsAreAsked(t *testing.T) {
	plain, parent := startOrigin(t)
	by := "http://127.0.0.1:" + strconv.Itoa(parent)
	if err := (visit{site: "http://nowhere.example", proxy: by}).fetch(); err != nil {
		t.Fatal(err)
	}
	if err := (visit{site: "http://127.0.0.1:" + strconv.Itoa(plain)}).fetch(); err != nil {
		t.Fatal(err)
	}
	// A tunnel is one request, whatever is asked for in it.
	j := setUp(target{proxy: true, hosts: []string{"127.0.0.1:9"}})
	at, err := url.Parse(by)
	if err != nil {
		t.Fatal(err)
	}
	j.conns, j.port, j.begin, j.end = 1, int(atoi([]byte(at.Port()))), func() {}, func() {}
	l, err := longEnough(j, func(j job) (*load, error) { return drive(j, bulk{}) })
	if err != nil || l.errors > 0 {
		t.Fatalf("%v, %s", err, l.first)
	}
	list, err := asked(plain)
	if err != nil || len(list) != 1 || list[0] < 1+l.units {
		t.Errorf("%v, %v, want one parent and %d requests", list, err, 1+l.units)
	}
}

func TestWhoLeavesAParentOutFails(t *testing.T) {
	for _, tt := range []struct {
		parents []int64
		good    bool
		shares  string
	}{
		{[]int64{25, 25, 25, 25}, true, "parents 25/25/25/25%"},
		{[]int64{10, 60, 20, 10}, true, "parents 10/60/20/10%"},
		{[]int64{34, 33, 33, 0}, false, "parents 34/33/33/0%"},
		{[]int64{97, 1, 1, 1}, false, "parents 97/1/1/1%"},
		{[]int64{0, 0, 0, 0}, true, "parents 0/0/0/0%"},
	} {
		if err := checkSpread(tt.parents); (err == nil) != tt.good {
			t.Errorf("%v: %v", tt.parents, err)
		}
		if got := shares(tt.parents); got != tt.shares {
			t.Errorf("%v: %q, want %q", tt.parents, got, tt.shares)
		}
	}
	if got := shares(nil); got != "" {
		t.Error(got)
	}
}

func TestParentsStandBesideOne(t *testing.T) {
	o, err := readOptions([]string{"-peers", "none", "-candidate-parent", "a=one {parent}", "-candidate-parents", "a=four {parent1} {parent4}"})
	if err != nil {
		t.Fatal(err)
	}
	list, err := o.chooseProxies()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"F1p4", "F3p4"} {
		var names []string
		for _, e := range o.field(workloadOf(id), list) {
			names = append(names, e.name+" "+e.kind)
		}
		want := []string{"a forward-parents", "a-" + strings.TrimSuffix(id, "4") + " forward-parent"}
		if !slices.Equal(names, want) {
			t.Errorf("%s: %q, want %q", id, names, want)
		}
	}
	b := &bench{options: o, vars: map[string]string{}}
	ports := strings.Split(b.chooseParents(), ",")
	if len(ports) != 4 || b.vars["parent"] != b.vars["parent1"] || b.vars["parent4"] != "127.0.0.1:"+ports[3] || b.vars["parentport3"] != ports[2] {
		t.Errorf("%v, %v", ports, b.vars)
	}
	for _, kind := range []string{forwardParent, forwardParents} {
		b.origins, b.nowhere = []int{1, 2}, 9
		if got := b.target(kind, 1).hosts; !slices.Equal(got, []string{"127.0.0.1:9"}) {
			t.Errorf("%s asks for %v: who goes round the parents would be served", kind, got)
		}
	}
}
