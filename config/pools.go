package config

import (
	"slices"
	"strings"
	"time"

	"viaduct/option"
	"viaduct/parent"
)

// Direct is the way out without a pool.
const Direct = "direct"

// Pool is ways out to choose from, which see to each other's failures.
type Pool struct {
	Name         string        // what via and route call it
	Endpoints    []string      `key:"endpoints" flag:"upstream" word:"URL" min:"1" secret:"true" usage:"parent proxy: http://, https:// or socks5://[user:password@]host[:port], with ?weight=3&zone=a&backup=true&tier=1&max=100&id=NAME; two in a row with -> between; or direct"`
	Balance      string        `key:"balance" flag:"balance" word:"NAME" default:"p2c_ewma" oneof:"p2c_ewma,round_robin,weighted,random,least_conn,p2c,hash,ring,maglev,first" usage:"how one of them is chosen: p2c_ewma, round_robin, weighted, random, least_conn, p2c, hash, ring, maglev or first"`
	HashKey      string        `key:"hash_key" flag:"hash-key" word:"KEY" default:"client_ip" usage:"what hash, ring and maglev choose by: client_ip, user, host, path, url, header:NAME, cookie:NAME, or several with commas between"`
	HashBound    float64       `key:"hash_bound" default:"0" min:"0" max:"100" example:"1.25" usage:"most load of one endpoint for these, as times the mean; 0 is no bound"`
	Health       Health        `key:"health" usage:"how endpoints are looked after"`
	SlowStart    time.Duration `key:"slow_start" default:"0s" min:"0s" usage:"how long an endpoint that comes back takes to reach its weight; 0s is off"`
	Zone         string        `key:"zone" usage:"our own zone, whose endpoints are used first"`
	Queue        int           `key:"queue" default:"0" min:"0" usage:"requests that may wait when all endpoints are full"`
	QueueTimeout time.Duration `key:"queue_timeout" default:"1s" usage:"how long they wait"`
	Retries      int           `key:"retries" flag:"retries" word:"N" default:"2" min:"0" max:"100" usage:"further endpoints that a request may try; one that could not be connected to does not count, but 0 is none at all"`
	RetryBudget  float64       `key:"retry_budget" flag:"retry-budget" word:"SHARE" default:"20%" min:"0%" max:"100%" usage:"most tries that come on top of requests, beside ten a second"`
	HedgeAfter   time.Duration `key:"hedge_after" flag:"hedge-after" default:"0s" min:"0s" usage:"a connect that takes longer is joined by one to another endpoint, and the first wins; 0s is off"`
	Resolve      string        `key:"resolve" flag:"upstream-resolve" word:"WHERE" default:"auto" oneof:"auto,here,parent" usage:"where names of destinations are looked up: here, by the parent, which no address is judged for then, or auto: here where addresses are judged"`
	TLS          PoolTLS       `key:"tls" usage:"how https:// endpoints are spoken to"`
	Limits       Limits        `key:"limits" usage:"what the pool takes at a time"`
	Throttle     bool          `key:"throttle" usage:"answer ourselves what the endpoints would refuse most of"`
	Adaptive     bool          `key:"adaptive" usage:"find out from latencies how many requests are good for the pool at a time"`
	Panic        string        `key:"panic" default:"spread" oneof:"spread,refuse" usage:"when too few endpoints are healthy: spread over all, or refuse"`
	PanicBelow   float64       `key:"panic_below" default:"50%" min:"0%" max:"100%" usage:"share of healthy endpoints below which it does; 0% is never"`
	Eject        Eject         `key:"eject" usage:"which errors of requests take an endpoint out, and for how long"`
}

// Health is how the endpoints of a pool are looked after.
type Health struct {
	Check    string        `key:"check" flag:"health-check" word:"SPEC" default:"tcp" usage:"what parents are asked: tcp, tls, http:/path, connect:host:port (through them), or none"`
	Interval time.Duration `key:"interval" flag:"health-interval" default:"5s" usage:"time between two checks"`
	Timeout  time.Duration `key:"timeout" flag:"health-timeout" default:"2s" usage:"bound on a check"`
	Fall     int           `key:"fall" flag:"health-fall" word:"N" default:"3" min:"1" max:"100" usage:"failures in a row after which an endpoint is down"`
	Rise     int           `key:"rise" flag:"health-rise" word:"N" default:"2" min:"1" max:"100" usage:"successes in a row after which it is up again"`
}

// PoolTLS is how parents are spoken to over TLS.
type PoolTLS struct {
	CA   string `key:"ca" flag:"upstream-ca" word:"FILE" min:"1" file:"" usage:"authorities (PEM) that https:// parents have their certificates from, instead of the system's"`
	Cert string `key:"cert" flag:"upstream-cert" word:"FILE" min:"1" file:"" usage:"certificate chain (PEM) that we show https:// parents"`
	Key  string `key:"key" flag:"upstream-key" word:"FILE" min:"1" file:"" usage:"private key (PEM) of that certificate"`
}

// Limits are what a pool takes at a time; 0 is any number.
type Limits struct {
	Requests int `key:"requests" default:"0" min:"0" usage:"requests and tunnels; 0 is no limit"`
	Pending  int `key:"pending" default:"0" min:"0" usage:"requests without a connection yet; 0 is no limit"`
	Retries  int `key:"retries" default:"0" min:"0" usage:"tries that are not the first; 0 is no limit"`
}

// Eject says which errors of requests take an endpoint out.
type Eject struct {
	Errors   int           `key:"errors" default:"5" min:"1" max:"1000000" usage:"errors in a row that do"`
	Time     time.Duration `key:"time" default:"30s" usage:"how long, times how often it happened of late"`
	MostTime time.Duration `key:"most_time" default:"5m" usage:"the longest that comes to"`
	Share    float64       `key:"share" default:"50%" min:"0%" max:"100%" usage:"most of the endpoints that are out at a time; 0% is none"`
}

// hide is what may be shown of an endpoint: all of it, but for its passwords.
func hide(text string) string {
	e, err := parent.ParseEndpoint(text)
	switch {
	case err != nil && strings.Contains(text, "@"):
		return "***"
	case err == nil && slices.ContainsFunc(e.Hops, func(p parent.Proxy) bool { return p.Password.Reveal() != "" }):
		return e.Hidden()
	}
	return text
}

// leads is what the endpoints of a pool lead through.
type leads struct {
	parents, secure, zones, weight bool
	unknown                        bool // one of them could not be read
}

// pools checks the ways out.
func (r report) pools(c *Config) {
	for i := range c.Pools {
		p := &c.Pools[i]
		at := "pools." + p.Name
		if p.Name == Direct {
			r.Say(at, "", "direct is the way out without a pool: give this one another name")
		}
		if p.Endpoints == nil {
			r.Say(at+".endpoints", "", "no endpoint: write at least one, such as http://10.0.0.1:3128, or direct")
		}
		l := r.endpoints(p.Endpoints, at+".endpoints")
		r.balance(p, at)
		r.health(&p.Health, at+".health", l)
		r.tries(p, at, l)
		r.poolTLS(&p.TLS, at+".tls", l)
	}
}

// endpoints checks the ways of a pool.
func (r report) endpoints(all []string, path string) (l leads) {
	first := map[string]int{}
	for i, text := range all {
		at := option.Item(path, i)
		e, err := parent.ParseEndpoint(text)
		before, again := first[e.ID]
		switch {
		case err != nil:
			r.Say(at, hide(text), err.Error())
			l.unknown = true
			continue
		case again && len(e.Hops) == 0:
			r.Say(at, hide(text), "is given twice: take one out")
		case again:
			r.Say(at, hide(text), e.ID+" stands at "+r.Name(option.Item(path, before))+" already: take one out, or call this one something else with ?id=NAME")
		default:
			first[e.ID] = i
		}
		for _, p := range e.Hops {
			l.parents = true
			l.secure = l.secure || p.Scheme == parent.HTTPS
			if p.Password.Reveal() == "***" {
				r.Say(at, hide(text), "*** stands for a password that is not shown: write the password itself")
			}
		}
		l.zones, l.weight = l.zones || e.Zone != "", l.weight || e.Weight > 0
	}
	if len(all) > 0 && !l.weight && !l.unknown {
		r.Say(path, "", "no endpoint has a weight, so that nothing is sent to any: give one of them more than 0")
	}
	return l
}
