package config

import (
	"slices"
	"strconv"
	"strings"

	"viaduct/acl"
	"viaduct/option"
)

// Inspection is one line about which tunnels are inspected. One of Decrypt and Pass is
// set.
type Inspection struct {
	Name    string `key:"name" place:"true" usage:"what logs are told; the place of the entry when it has none"`
	Decrypt *Terms `key:"decrypt" flag:"inspect" word:"RULE" example:"host=.example.com" oneof:"user,group,client,host,port,time" usage:"inspect tunnels that all these terms hold for: user, group, client, host, port and time"`
	Pass    *Terms `key:"pass" flag:"inspect-pass" word:"RULE" example:"host=.bank.example" oneof:"user,group,client,host,port,time" usage:"pass tunnels on, uninspected, that all these terms hold for"`
}

// unknown are terms that no tunnel is inspected by.
var unknown = map[string]string{
	"addr":   "is not known before a tunnel is inspected: write host, or take this out",
	"method": "is CONNECT of every tunnel that is inspected: take this out, and write a rule about the requests inside",
	"path":   "is not known before a tunnel is inspected: take this out, and write a rule about the requests inside",
}

// inspect checks which tunnels are inspected.
func (r report) inspect(f *Forward, path string, names map[string]string) {
	reach, decrypts := reach{report: r, byHosts: true}, ""
	for i := range f.Inspect {
		e, at := &f.Inspect[i], option.Item(path+".inspect", i)
		switch {
		case e.Decrypt != nil && e.Pass != nil:
			r.Say(at, "", "is decrypt and pass at once: write two entries")
		case e.Decrypt == nil && e.Pass == nil && !r.Strange(at):
			r.Say(at, "", "write decrypt or pass with its terms, such as decrypt: {host: [.example.com]}")
		}
		if e.Decrypt != nil && decrypts == "" {
			decrypts = at + ".decrypt"
		}
		r.name(e.Name, at, names)
		r.terms(f, e.Decrypt, path, at+".decrypt", unknown)
		r.terms(f, e.Pass, path, at+".pass", unknown)
		r.connects(f, e.Decrypt, path, at+".decrypt")
		r.connects(f, e.Pass, path, at+".pass")
		switch {
		case e.Decrypt != nil:
			reach.terms(at, at+".decrypt", e.Decrypt, true)
		case e.Pass != nil:
			reach.terms(at, at+".pass", e.Pass, true)
		}
	}
	r.authority(f, path, decrypts)
}

// connects checks that there can be tunnels to the ports that an entry names.
func (r report) connects(f *Forward, t *Terms, entry, path string) {
	if t == nil || f.ConnectPorts == nil || r.Unread(option.Item(entry+".connect_ports", 0)) {
		return
	}
	for i, value := range t.Port {
		if value == "" || value[0] == '@' || acl.CheckValue("port", value) != "" {
			continue
		}
		low, high, isRange := strings.Cut(value, "-")
		first, _ := strconv.Atoi(low)
		last, _ := strconv.Atoi(high)
		if !isRange {
			last = first
		}
		if !slices.ContainsFunc(f.ConnectPorts, func(p uint16) bool { return first <= int(p) && int(p) <= last }) {
			r.Say(option.Item(path+".port", i), value, "no CONNECT reaches this port: add it to "+r.Option("connect-ports", "connect_ports")+", or take it out")
		}
	}
}

// authority checks who makes and who vouches for the certificates of tunnels that are
// inspected, by the entry at decrypts.
func (r report) authority(f *Forward, path, decrypts string) {
	if decrypts != "" {
		if !r.given(f.CA, path, "ca") {
			r.Say(decrypts, "", "decrypts nothing without an authority that clients trust: make one (viaduct ca init DIR), and add "+r.Option("ca DIR", "ca: DIR"))
		}
		return
	}
	for i := range f.Inspect {
		if at := option.Item(path+".inspect", i); r.Strange(at) || r.Unread(at) || f.Inspect[i].Pass == nil {
			return // it may be the one
		}
	}
	text := "does nothing where no tunnel is inspected: add " + r.Option("inspect", "inspect: [{decrypt: …}]") + ", or take this out"
	if r.Unread(path + ".inspect") {
		return
	}
	if f.CA != "" {
		r.Say(path+".ca", f.CA, text)
	}
	if f.OriginCA != "" {
		r.Say(path+".origin_ca", f.OriginCA, text)
	}
	if len(f.Inspect) > 0 {
		r.Say(option.Item(path+".inspect", 0), "", text)
	}
}
