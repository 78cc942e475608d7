package acl

import (
	"bytes"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"unicode"

	"viaduct/fault"
	"viaduct/hop"
)

func (r *rule) readUser(v string) string  { return readText(&r.users, v) }
func (r *rule) readGroup(v string) string { return readText(&r.groups, v) }

func readText(set *map[string]struct{}, v string) string {
	switch {
	case v == "":
		return "is empty: write a name, or leave the term out"
	case strings.ContainsFunc(v, unicode.IsControl):
		return "has a control character in it: write the name alone"
	}
	if *set == nil {
		*set = make(map[string]struct{})
	}
	(*set)[v] = struct{}{}
	return ""
}

func (r *rule) readClient(v string) string { return readSpan(&r.clients, v) }
func (r *rule) readAddr(v string) string   { return readSpan(&r.addrs, v) }

func readSpan(set *spans, v string) string {
	if strings.Contains(v, "%") {
		return "no zone belongs here: write the address up to the %"
	}
	p, err := netip.ParsePrefix(v)
	if a, bad := netip.ParseAddr(v); bad == nil {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	switch {
	case err != nil:
		return "write an IP address or a range such as 10.0.0.0/8 or 2001:db8::/32"
	case p != p.Masked():
		return "has bits of an address behind its length: write " + p.Masked().String()
	}
	*set = append(*set, spanOf(p))
	return ""
}

// portRange is a range of ports, both ends included.
type portRange struct{ first, last uint16 }

func (r *rule) readPort(v string) string {
	first, last, isRange := strings.Cut(v, "-")
	if !isRange {
		last = first
	}
	a, errFirst := strconv.ParseUint(first, 10, 16)
	b, errLast := strconv.ParseUint(last, 10, 16)
	switch {
	case errFirst != nil || errLast != nil || a == 0 || b == 0:
		return "write a port from 1 to 65535, or a range such as 8000-8999"
	case a > b:
		return "runs backwards: write " + last + "-" + first
	}
	r.ports = append(r.ports, portRange{uint16(a), uint16(b)})
	return ""
}

// usual are the methods of RFC 9110 and RFC 5789.
const usual = " GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH "

func (r *rule) readMethod(v string) string {
	for i := range len(v) {
		if b := v[i]; b <= ' ' || b > '~' || strings.IndexByte(`"(),/:;<=>?@[\]{}`, b) >= 0 {
			return "write a method such as GET"
		}
	}
	upper := strings.ToUpper(v)
	switch {
	case v == "":
		return "write a method such as GET"
	case v != upper && strings.Contains(usual, " "+upper+" "):
		return "the letters of a method count: write " + upper
	}
	r.methods = append(r.methods, v)
	return ""
}

func (r *rule) readHost(v string) string {
	h, problem := readHost([]byte(v))
	if problem == "" && !r.named.add(h) {
		problem = "is one name too many: put some into another rule"
	}
	return problem
}

// readHost reads a name, a name with what is below it, or an address, or says
// what is wrong with it.
func readHost(v []byte) (h hostValue, problem string) {
	name := v
	h.meaning = itself
	if rest, ok := bytes.CutPrefix(v, []byte("*.")); ok {
		name, h.meaning = rest, below
	} else if rest, ok := bytes.CutPrefix(v, []byte(".")); ok {
		name, h.meaning = rest, itself|below
	}
	switch {
	case len(v) == 0:
		return h, "is empty: " + writeHost
	case len(name) == 0 || string(name) == "*":
		return h, "would be every host: leave the term out"
	case bytes.Count(name, []byte(":")) > 1 && name[0] != '[':
		name = append(append([]byte("["), name...), ']')
	}
	if i := bytes.LastIndexByte(name, ':'); i > bytes.IndexByte(name, ']') && bytes.IndexByte(name, '/') < 0 {
		return h, "a host has no port: write " + string(v[:bytes.LastIndexByte(v, ':')]) + " here, and port=" + string(name[i+1:])
	}
	t, err := hop.ParseHost(name, 1)
	switch {
	case err != nil:
		return h, sayHost(v, err)
	case t.Addr.IsValid() && h.meaning != itself:
		return h, "nothing is below an address: write " + t.Host
	}
	h.Target = t
	return h, ""
}

const writeHost = "write a name such as example.com, .example.com (and all below) or *.example.com (all below), or an address"

// sayHost says what is wrong with a host.
func sayHost(v []byte, err error) string {
	var bad *fault.Error
	_, noRange := netip.ParsePrefix(string(v))
	switch {
	case noRange == nil:
		return "is a range of addresses: write addr=" + string(v)
	case bytes.IndexByte(v, '/') >= 0:
		return "a host has no scheme and no path: " + writeHost
	case bytes.IndexByte(v, '*') >= 0:
		return "a * stands at the start and for whole labels only: " + writeHost
	case !errors.As(err, &bad):
		return writeHost
	}
	why := strings.TrimSuffix(bad.Say(), ".")
	return strings.ToLower(why[:1]) + why[1:] + ": " + writeHost
}
