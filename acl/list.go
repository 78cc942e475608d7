package acl

import (
	"bytes"
	"iter"
	"net/netip"
	"strings"

	"viaduct/guard"
)

// Read says how much of a list was understood.
type Read struct {
	Names        int // different names and addresses
	Skipped      int // lines that say something, but name no host
	FirstSkipped int // the number of the first of them, 0 for none
}

// ParseNames reads a list of hosts, which may mix three forms, a line each:
// values as host= has them; lines of a hosts file that send names to this
// machine or nowhere, such as "0.0.0.0 name name"; and rules of an ad blocker
// for whole domains, such as "||name^". Comments begin with "!", or with "#" at
// the start or after space. Lines that it cannot use are skipped and counted.
func ParseNames(text []byte) (*Names, Read) {
	var b builder
	var read Read
	for number, line := range lines(text) {
		if b.line(line) {
			continue
		}
		if read.Skipped++; read.Skipped == 1 {
			read.FirstSkipped = number
		}
	}
	n := b.names()
	read.Names = n.Len()
	return n, read
}

// Values are the lines of a list for any other field, without comments: "#" at
// the start or after space, up to the end of the line.
func Values(text []byte) []string {
	var values []string
	for _, line := range lines(text) {
		values = append(values, string(line))
	}
	return values
}

// lines are those of a text that say something, with their numbers from 1, and
// without comment and the space around.
func lines(text []byte) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		number := 0
		for line := range bytes.Lines(bytes.TrimPrefix(text, []byte("\uFEFF"))) {
			number++
			if line = bytes.TrimSpace(uncomment(line)); len(line) > 0 && !yield(number, line) {
				return
			}
		}
	}
}

func uncomment(line []byte) []byte {
	for from := 0; ; {
		i := bytes.IndexByte(line[from:], '#')
		if i < 0 {
			return line
		}
		if i += from; i == 0 || line[i-1] <= ' ' {
			return line[:i]
		}
		from = i + 1
	}
}

// line puts into the set what a line names. It returns false for one to skip.
func (b *builder) line(s []byte) bool {
	switch {
	case s[0] == '!', bytes.HasPrefix(s, []byte("[Adblock")):
		return true
	case bytes.HasPrefix(s, []byte("||")):
		return b.blocked(s[2:])
	case bytes.ContainsAny(s, " \t"):
		return b.hosts(s)
	}
	return b.value(s, 0)
}

// value puts one host into the set, with what more is meant by it.
func (b *builder) value(s []byte, more uint8) bool {
	h, problem := readHost(s)
	if h.meaning == itself && !h.Addr.IsValid() {
		h.meaning |= more
	}
	return problem == "" && b.add(h)
}

// broad are the options of an ad blocker's rule that leave it as wide as it is.
const broad = ",important,all,document,doc,"

// blocked reads what follows "||".
func (b *builder) blocked(s []byte) bool {
	name, tail, ok := bytes.Cut(s, []byte("^"))
	options, hasOptions := bytes.CutPrefix(tail, []byte("$"))
	if !ok || len(tail) > 0 && !hasOptions {
		return false
	}
	for option := range strings.SplitSeq(string(options), ",") {
		if option != "" && !strings.Contains(broad, ","+option+",") {
			return false
		}
	}
	return b.value(name, below)
}

// everywhere are the names that every hosts file has: they are this machine, or
// groups on its link.
const everywhere = " localhost localhost.localdomain localhost4 localhost4.localdomain4 localhost6 localhost6.localdomain6 local broadcasthost" +
	" ip6-localhost ip6-loopback ip6-localnet ip6-mcastprefix ip6-allnodes ip6-allrouters ip6-allhosts 0.0.0.0 "

// hosts reads a line of a hosts file. One that gives a name a real address
// blocks nothing.
func (b *builder) hosts(s []byte) bool {
	end := bytes.IndexAny(s, " \t")
	a, err := netip.ParseAddr(string(s[:end]))
	if err != nil {
		return false
	}
	class, fine := guard.Classify(a), true
	for name := range bytes.FieldsSeq(s[end:]) {
		if strings.Contains(everywhere, " "+strings.ToLower(string(name))+" ") {
			continue
		}
		fine = (class == guard.Loopback || class == guard.Unspecified) && b.value(name, 0) && fine
	}
	return fine
}
