package acl_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"viaduct/acl"
	"viaduct/guard"
	"viaduct/hop"
)

// lists are lines, hosts that are in them and hosts that are not, how many they
// name, how many lines are skipped and which is the first of these.
var lists = []struct {
	name, text, in, out string
	read                acl.Read
}{
	{"nothing", "", "", "example.com 1.2.3.4", acl.Read{}},
	{
		"plain", "# a list\n\na.example\n.b.example # with all below\n\t*.c.example\t#\r\n  1.2.3.4\n[::1]\n2001:db8::1\n::ffff:5.6.7.8\nbücher.example\nD.Example.",
		"a.example b.example x.b.example x.y.c.example 1.2.3.4 ::1 2001:db8::1 5.6.7.8 ::ffff:5.6.7.8 ::ffff:1.2.3.4 xn--bcher-kva.example d.example",
		"x.a.example c.example 1.2.3.5 64:ff9b::102:304 ::2 example x.d.example",
		acl.Read{Names: 9},
	},
	{
		"a hosts file", "127.0.0.1 localhost localhost.localdomain\n::1 localhost ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\n255.255.255.255 broadcasthost\nfe80::1%lo0 LocalHost\n" +
			"0.0.0.0 0.0.0.0\n0.0.0.0 a.example\n127.0.0.1\tB.example\tc.example # two\n:: d.example\n::1 e.example\n0 f.example\n192.168.1.1 g.example\n10.0.0.1\n127.0.0.53 h.example",
		"a.example b.example c.example d.example e.example h.example 10.0.0.1",
		"x.a.example localhost ip6-allnodes broadcasthost f.example g.example 0.0.0.0 127.0.0.1 192.168.1.1",
		acl.Read{Names: 7, Skipped: 2, FirstSkipped: 11},
	},
	{
		"a host by the name of this machine", "localhost\n0.0.0.0", "localhost 0.0.0.0", "x.localhost", acl.Read{Names: 2},
	},
	{
		"a blocker's rules", "[Adblock Plus 2.0]\n! Title: x\n||a.example^\n||b.example^$important\n||c.example^$all,document\n||d.example^$doc\n||e.example^$\n||*.f.example^\n||1.2.3.4^\n" +
			"||g.example^$third-party\n||h.example^$important,script\n@@||a.example^\na.example##.ad\n###ad\n||i.example/x^\n||j.example\n||k^*\n|http://l.example^\n/m/\n||n.example^|\n||.o.example^\n||^\n||p.example:80^\n||q.example^$badfilter\n||[::1]^",
		"a.example x.a.example b.example y.b.example c.example z.c.example d.example e.example x.e.example x.f.example 1.2.3.4 o.example x.o.example ::1",
		"f.example g.example h.example i.example j.example k l.example m n.example p.example q.example example",
		acl.Read{Names: 9, Skipped: 13, FirstSkipped: 10},
	},
	{
		"all of them in any mix, after a BOM", "\uFEFF||a.example^\r\n0.0.0.0 b.example\r\n.c.example\r\n", "a.example b.example c.example x.a.example x.c.example", "x.b.example", acl.Read{Names: 3},
	},
	{
		"the same again", "a.example\n0.0.0.0 A.example a.example.\n*.a.example\n1.2.3.4\n::ffff:1.2.3.4\n1.2.3.5", "a.example x.a.example 1.2.3.4 1.2.3.5", "", acl.Read{Names: 3},
	},
	{
		"what is no host", "http://a.example/\nb.example:80\n10.0.0.0/8\nc d\n*\n.\nx*.example\ne..example\n127.1\n\x00\n\xff\n0.0.0.0 bad..name good.example\n" + strings.Repeat("x", 1e5),
		"good.example", "a.example b.example 10.0.0.0 c d",
		acl.Read{Names: 1, Skipped: 13, FirstSkipped: 1},
	},
	{"no newline at the end, and too many", "\n\n\na.example\n\n\r\n\rb.example", "a.example b.example", "", acl.Read{Names: 2}},
}

func TestParseNames(t *testing.T) {
	for _, c := range lists {
		t.Run(c.name, func(t *testing.T) {
			n, read := acl.ParseNames([]byte(c.text))
			if read != c.read || n.Len() != read.Names {
				t.Errorf("%+v, of %d, want %+v", read, n.Len(), c.read)
			}
			for host := range strings.FieldsSeq(c.in) {
				if !n.Has(host) {
					t.Errorf("%s is not in it", host)
				}
			}
			for host := range strings.FieldsSeq(c.out) {
				if n.Has(host) {
					t.Errorf("%s is in it", host)
				}
			}
		})
	}
	if n := (*acl.Names)(nil); n.Has("a.example") || n.Len() != 0 {
		t.Error("no list at all has something in it")
	}
	if n := new(acl.Names); n.Has("a.example") || n.Has("1.2.3.4") || n.Has("") || n.Len() != 0 {
		t.Error("the zero list has something in it")
	}
}

// TestNamesDoNotKeepTheText: who reads a file uses its buffer again.
func TestNamesDoNotKeepTheText(t *testing.T) {
	text := []byte("a.example\n.b.example\n")
	n, _ := acl.ParseNames(text)
	for i := range text {
		text[i] = 'x'
	}
	if !n.Has("a.example") || !n.Has("x.b.example") {
		t.Error("the names have changed")
	}
}

func TestManyNames(t *testing.T) {
	var text []byte
	for i := range 50000 {
		text = fmt.Appendf(text, "%sn%d.example\n", []string{"", ".", "*."}[i%3], i)
	}
	n, read := acl.ParseNames(text)
	if read != (acl.Read{Names: 50000}) {
		t.Fatalf("%+v", read)
	}
	for i := range 50000 {
		host := fmt.Sprintf("n%d.example", i)
		if n.Has(host) != (i%3 < 2) || n.Has("www."+host) != (i%3 > 0) || n.Has("x"+host) {
			t.Fatalf("%s: %v, below: %v", host, n.Has(host), n.Has("www."+host))
		}
	}
}

func TestValues(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"\uFEFF# users\r\n\r\n  bob  \r\nann # the boss\n#eve\nc#\n", []string{"bob", "ann", "c#"}},
		{"10.0.0.0/8\n\n2001:db8::/32\t# v6", []string{"10.0.0.0/8", "2001:db8::/32"}},
		{"\n \n#", nil},
		{"Jörg Müller", []string{"Jörg Müller"}},
	} {
		if got := acl.Values([]byte(c.text)); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}

var (
	comment    = regexp.MustCompile(`(?s)(^|[\x00- ])#.*`)
	blocker    = regexp.MustCompile(`(?s)^\|\|([^^]*)\^(?:\$(.*))?$`)
	option     = regexp.MustCompile(`^(important|all|document|doc)?$`)
	everywhere = regexp.MustCompile(`(?i)^(localhost[46]?(\.localdomain[46]?)?|local|broadcasthost|ip6-(localhost|loopback|localnet|mcastprefix|allnodes|allrouters|allhosts)|0\.0\.0\.0)$`)
)

// naiveNames are the values of host= that a list stands for, and the numbers of
// the lines that are skipped.
func naiveNames(text string) (values []string, skipped []int) {
	for i, line := range strings.Split(strings.TrimPrefix(text, "\uFEFF"), "\n") {
		line = strings.TrimSpace(comment.ReplaceAllString(line, "$1"))
		fine := true
		add := func(v string) {
			if v == "" || acl.CheckValue("host", v) != "" {
				fine = false
				return
			}
			values = append(values, v)
		}
		switch rule := blocker.FindStringSubmatch(line); {
		case line == "", line[0] == '!', strings.HasPrefix(line, "[Adblock"):
		case rule != nil:
			for o := range strings.SplitSeq(rule[2], ",") {
				fine = fine && option.MatchString(o)
			}
			name := rule[1]
			if isName(name) {
				name = "." + name
			}
			if fine {
				add(name)
			}
		case strings.HasPrefix(line, "||"):
			fine = false
		case strings.ContainsAny(line, " \t"):
			a, err := netip.ParseAddr(line[:strings.IndexAny(line, " \t")])
			class := guard.Classify(a)
			for name := range strings.FieldsSeq(line[strings.IndexAny(line, " \t"):]) {
				switch {
				case err != nil:
				case everywhere.MatchString(name):
				case class == guard.Loopback, class == guard.Unspecified:
					add(name)
				default:
					fine = false
				}
			}
			fine = fine && err == nil
		default:
			add(line)
		}
		if !fine {
			skipped = append(skipped, i+1)
		}
	}
	return values, skipped
}

// isName says whether s is a plain name, no address and no pattern.
func isName(s string) bool {
	target, err := hop.ParseHost([]byte(s), 80)
	return err == nil && !target.Addr.IsValid() && !strings.ContainsAny(s, ":")
}

// FuzzNames holds a list against a naive reader of it.
func FuzzNames(f *testing.F) {
	for _, c := range lists {
		f.Add([]byte(c.text), c.in)
		f.Add([]byte(c.text), c.out)
	}
	f.Fuzz(func(t *testing.T, text []byte, more string) {
		text, more = text[:min(len(text), 2000)], more[:min(len(more), 500)] // the naive way is slow
		n, read := acl.ParseNames(text)
		values, skipped := naiveNames(string(text))
		if read.Skipped != len(skipped) || len(skipped) > 0 && read.FirstSkipped != skipped[0] || read.Names != n.Len() {
			t.Errorf("%+v of %d, naively %d skipped: %v", read, n.Len(), len(skipped), skipped)
		}
		different := map[string]bool{}
		hosts := strings.Fields(more)
		for _, v := range values {
			name := strings.TrimPrefix(strings.TrimPrefix(v, "*"), ".")
			host := hostOf(name)
			different[host] = true
			_, parent, _ := strings.Cut(host, ".")
			hosts = append(hosts, host, parent, "x."+host, "x"+host, "a.b."+host)
		}
		if read.Names != len(different) {
			t.Errorf("%d names, naively %d", read.Names, len(different))
		}
		for _, host := range hosts {
			target, err := hop.ParseHost([]byte(host), 80)
			if err != nil || target.Addr.IsValid() && target.Host != host {
				continue
			}
			want := slices.ContainsFunc(values, func(v string) bool { return naiveHost(v, target.Host, false) })
			if got := n.Has(target.Host); got != want {
				t.Errorf("%q: %v, naively %v", target.Host, got, want)
			}
		}
		acl.Values(text)
	})
}

// hostOf is the normal form of a value's host, IPv4-mapped addresses unmapped.
func hostOf(name string) string {
	if strings.Count(name, ":") > 1 && name[0] != '[' {
		name = "[" + name + "]"
	}
	target, _ := hop.ParseHost([]byte(name), 80)
	if target.Addr.IsValid() {
		return target.Addr.Unmap().String()
	}
	return target.Host
}
