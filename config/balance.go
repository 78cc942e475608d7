package config

import (
	"strings"

	"viaduct/hashing"
	"viaduct/lb"
	"viaduct/option"
	"viaduct/probe"
)

// preset is a pool with all its defaults.
func preset() *Pool {
	c := Config{Pools: make([]Pool, 1)}
	option.Preset(&c)
	return &c.Pools[0]
}

// said is an option, and whether anything was said of it.
type said struct {
	key string
	yes bool
}

// idle tells of options of which something was said that comes to nothing.
func (r report) idle(path, why string, options ...said) {
	for _, o := range options {
		if o.yes {
			r.Say(path+"."+o.key, "", "does nothing "+why+", or take this out")
		}
	}
}

// balance checks how an endpoint is chosen.
func (r report) balance(p *Pool, path string) {
	parts, err := hashing.ParseKey(p.HashKey)
	if err != nil {
		r.Say(path+".hash_key", "", brief(err))
	}
	if p.HashBound > 0 && p.HashBound <= 1 {
		r.Say(path+".hash_bound", "", "write a number above 1, such as 1.25, or 0 for no bound")
	}
	policy, err := lb.ParsePolicy(p.Balance)
	if err != nil || policy.Keyed() || r.Unread(path+".balance") {
		return // the tags of the option tell of another word
	}
	isPreset := len(parts) == 1 && parts[0] == (hashing.Part{})
	r.idle(path, "with "+r.Option("balance", "balance:")+" "+p.Balance+": choose hash, ring or maglev there",
		said{"hash_key", !isPreset}, said{"hash_bound", p.HashBound != 0})
}

// health checks how endpoints are looked after.
func (r report) health(h *Health, path string, l leads) {
	check, err := probe.Parse(h.Check)
	switch {
	case err != nil:
		r.Say(path+".check", "", brief(err))
	case check.Kind == probe.Connect && !l.parents && !l.unknown:
		r.Say(path+".check", h.Check, "asks parents, and no endpoint is one: write tcp or none")
	case check.Kind == probe.None:
		usual := preset().Health
		r.idle(path, "where nothing is checked: write a "+r.Option("health-check", "check"), said{"interval", h.Interval != usual.Interval},
			said{"timeout", h.Timeout != usual.Timeout}, said{"fall", h.Fall != usual.Fall}, said{"rise", h.Rise != usual.Rise})
	}
}

// tries checks what follows when an endpoint cannot be used.
func (r report) tries(p *Pool, path string, l leads) {
	usual := preset()
	if p.Retries == 0 && !r.Unread(path+".retries") {
		r.idle(path, "without "+r.Option("retries", "retries")+": allow one", said{"retry_budget", p.RetryBudget != usual.RetryBudget},
			said{"hedge_after", p.HedgeAfter != 0}, said{"limits.retries", p.Limits.Retries != 0})
	}
	if p.Queue == 0 && !r.Unread(path+".queue") {
		r.idle(path, "without queue: write how many may wait", said{"queue_timeout", p.QueueTimeout != usual.QueueTimeout})
	}
	if !l.unknown {
		r.idle(path, "as no endpoint has a zone: write one, such as ?zone=a", said{"zone", p.Zone != "" && !l.zones})
		r.idle(path, "as no endpoint is a parent that could: write here or auto", said{"resolve", p.Resolve == "parent" && !l.parents})
	}
	if p.Eject.MostTime < p.Eject.Time {
		r.Say(path+".eject.most_time", "", "is less than time: write as much at least")
	}
}

// poolTLS checks how parents are spoken to over TLS.
func (r report) poolTLS(t *PoolTLS, path string, l leads) {
	switch {
	case !l.secure && !l.unknown:
		r.idle(path, "without "+r.Option("upstream https://host:port", "an https:// endpoint")+": add that",
			said{"ca", t.CA != ""}, said{"cert", t.Cert != ""}, said{"key", t.Key != ""})
	case r.given(t.Cert, path, "cert") && !r.given(t.Key, path, "key"):
		r.Say(path+".cert", t.Cert, "has no key: add "+r.Option("upstream-key", "key")+" with the file that it is in")
	case t.Key != "" && !r.given(t.Cert, path, "cert"):
		r.Say(path+".key", t.Key, "has no certificate: add "+r.Option("upstream-cert", "cert")+" with the file that it is in")
	}
}

// brief is what an error says, at no length.
func brief(err error) string {
	text := err.Error()
	if most := 300; len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
