package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// options is what the command line says.
type options struct {
	peers, workloads   string
	peersDir           string
	repo               string
	candidates         []candidate
	ref                string
	compare            words
	noise              bool
	rounds             int
	seconds, warm      float64
	idle, beside       int
	user               string
	flood, floodFrom   int
	proxyCPUs, genCPUs string
	work               string
	out, raw, report   string
	list               bool

	originPorts   string
	originParents string
	originTLS     int
	originPEM     string
}

// words is a flag that may be repeated.
type words []string

func (w *words) String() string { return strings.Join(*w, " ") }

// Set adds a value.
func (w *words) Set(s string) error {
	*w = append(*w, s)
	return nil
}

// candidate is a command to measure that has no folder of its own.
type candidate struct{ kind, name, cmd string }

// candidateFlags are the flags that name candidates, each with the kind of
// command that it takes.
var candidateFlags = []struct{ flag, kind, usage string }{
	{"candidate", forward, "forward proxy to measure, 'name=command with {port} ...'; with {tlsport} in it, it serves F1s and F3s too"},
	{"candidate-auth", forwardAuth, "the same for F1a and F1f: asks for the user in {users}"},
	{"candidate-list", forwardList, "the same for F1l: denies the names in {list} or {dotlist}"},
	{"candidate-auth-list", forwardAuthList, "the same for F1al: does both"},
	{"candidate-tls", forwardTLS, "the same for F1s and F3s: speaks TLS at {tlsport}"},
	{"candidate-parent", forwardParent, "the same for F1p and F3p: goes through {parent}"},
	{"candidate-parents", forwardParents, "the same for F1p4 and F3p4: spreads over {parent1} to {parent4}"},
	{"candidate-filter", forwardFilter, "the same for F1lib: takes the field " + nothing + " off each request"},
	{"candidate-inspect", forwardInspect, "the same for F1in and F3in: inspects TLS with {ca}, and believes {cert} of an origin"},
	{"candidate-reverse", reverse, "reverse proxy to measure, 'name=command with {port} {tlsport} {origin1} ...'"},
}

func readOptions(args []string) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("bench", flag.ExitOnError)
	f.StringVar(&o.peers, "peers", "all", "peers to measure: all, none or a comma list")
	f.StringVar(&o.peersDir, "peers-dir", "peers", "folder of the peers")
	f.StringVar(&o.repo, "repo", filepath.Join("..", ".."), "checkout that viaduct is built from when there is no candidate; none: do not")
	f.StringVar(&o.workloads, "workloads", "all", "workloads: all, forward, reverse or a comma list of ids")
	f.StringVar(&o.ref, "ref", "viaduct,goproxy,go-reverseproxy", "what the ratio columns refer to: the first of the list that is in a table")
	f.Var(&o.compare, "compare", "two proxies, 'A,B', to compare round by round (repeatable)")
	f.BoolVar(&o.noise, "noise", false, "measure the reference twice, to show the noise")
	f.IntVar(&o.rounds, "rounds", 3, "rounds over all proxies; medians are printed")
	f.Float64Var(&o.seconds, "seconds", 3, "measured seconds per proxy, workload and round")
	f.Float64Var(&o.warm, "warm", 0.5, "seconds of load before measuring")
	f.IntVar(&o.idle, "idle", 5000, "tunnels of F5")
	f.IntVar(&o.beside, "beside", 500, "idle tunnels beside the load of F4i")
	f.StringVar(&o.user, "user", "nobody", "user whom the proxies of F4i run as, a name or a number, when started as root")
	f.IntVar(&o.flood, "flood", 5000, "wrong passwords a second beside the load of F1f")
	f.IntVar(&o.floodFrom, "flood-from", 1, "addresses that they come from, 1 to 64")
	f.StringVar(&o.proxyCPUs, "proxy-cpus", "0", "CPUs of the proxy")
	f.StringVar(&o.genCPUs, "gen-cpus", "1", "CPUs of the generator and the origin")
	f.StringVar(&o.work, "work", filepath.Join(os.TempDir(), "viaduct-bench"), "scratch folder: binaries, rendered configs, output of the proxies")
	f.StringVar(&o.out, "out", "", "append the tables to this file too")
	f.StringVar(&o.raw, "raw", "", "append every measurement to this file, a JSON object a line")
	f.StringVar(&o.report, "report", "", "only print the tables of such a file")
	f.BoolVar(&o.list, "list", false, "only list proxies and workloads")
	f.StringVar(&o.originPorts, "origin", "", "only serve as origin at PORT,PORT,...")
	f.StringVar(&o.originParents, "origin-parent", "", "with -origin: ports that answer as parent proxies, PORT,PORT,...")
	f.IntVar(&o.originTLS, "origin-tls", 0, "with -origin: a port that speaks TLS")
	f.StringVar(&o.originPEM, "origin-cert", "", "with -origin-tls: file of certificate and key")
	for _, c := range candidateFlags {
		f.Func(c.flag, c.usage+" (repeatable)", func(s string) error { return o.addCandidate(c.kind, s) })
	}
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	return o, o.check(f.Args())
}

func (o *options) check(rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("what is %q? quote commands as one argument", rest[0])
	}
	if o.rounds < 1 || o.seconds <= 0 || o.warm < 0 || o.idle < 1 || o.beside < 1 || o.flood < 1 {
		return errors.New("rounds, seconds, idle, beside and flood must be above 0")
	}
	if o.floodFrom < 1 || o.floodFrom > sources {
		return fmt.Errorf("-flood-from %d: want 1 to %d", o.floodFrom, sources)
	}
	for _, c := range o.compare {
		if a, b, ok := strings.Cut(c, ","); !ok || a == "" || b == "" {
			return fmt.Errorf("-compare %q: want A,B", c)
		}
	}
	return nil
}

// addCandidate takes name=command. A name that has a command of this kind gets
// a number the second time.
func (o *options) addCandidate(kind, s string) error {
	name, cmd, ok := strings.Cut(s, "=")
	if !ok || name == "" || strings.ContainsAny(name, " /,") {
		return fmt.Errorf("%q: want name=command", s)
	}
	o.candidates = append(o.candidates, candidate{kind, o.freeName(kind, name), cmd})
	return nil
}

func (o *options) freeName(kind, name string) string {
	taken := func(name string) bool {
		for _, c := range o.candidates {
			if c.kind == kind && c.name == name {
				return true
			}
		}
		return false
	}
	free := name
	for n := 2; taken(free); n++ {
		free = name + "#" + strconv.Itoa(n)
	}
	return free
}
