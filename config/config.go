// Package config is what the operator wrote: plain data with its defaults, read
// from a YAML file or from the command line, and validated with the place of
// each mistake.
//
// The structs below are the one place where an option is defined. A field's tags
// say everything about it: key in the file, flag (its twin in the environment
// follows from that), default, bounds, allowed words, and what it means. The
// flags of the command line, the reader, the printer and the schema for editors
// are all made from them.
package config

import (
	"net/netip"
	"reflect"
	"time"
)

// Config is everything an operator can say.
type Config struct {
	Admin   Admin     `key:"admin" usage:"the operator's door: metrics and health"`
	Log     Log       `key:"log" usage:"what is told, and where"`
	Watch   bool      `key:"watch" usage:"reload when this file changes on disk"`
	Forward []Forward `key:"forward" usage:"forward proxies: each has its listeners and its policy"`
}

// Admin is the operator's door.
type Admin struct {
	Listen    string   `key:"listen" flag:"admin" word:"ADDR" usage:"address (host:port) of metrics and health; none when it is not given"`
	TokenFile string   `key:"token_file" flag:"admin-token-file" word:"FILE" file:"true" usage:"file with the token that metrics ask for (Authorization: Bearer); needed beyond the loopback"`
	Hosts     []string `key:"hosts" flag:"admin-hosts" word:"NAME" usage:"further names by which the admin address may be called"`
}

// Log says what is logged.
type Log struct {
	Level  string    `key:"level" flag:"log-level" word:"LEVEL" default:"info" oneof:"debug,info,warn,error" usage:"least level of messages on standard error: debug, info, warn or error"`
	Access AccessLog `key:"access" usage:"the access log"`
}

// AccessLog is one line an exchange.
type AccessLog struct {
	Path   string `key:"path" flag:"access-log" word:"PATH" file:"true" default:"-" usage:"path of the access log, - for standard output, or off"`
	Format string `key:"format" flag:"access-log-format" word:"FORMAT" default:"json" oneof:"json,squid,combined" usage:"format of its lines: json, squid or combined"`
}

// Forward is one forward proxy.
type Forward struct {
	Listen       []string     `key:"listen" flag:"listen" word:"ADDR" default:"127.0.0.1:3128" usage:"address to listen on: host:port or http://host:port"`
	Open         bool         `key:"open" flag:"open" usage:"let clients in from anywhere without authentication"`
	Egress       []netip.Addr `key:"egress" flag:"egress" word:"IP" usage:"source address of outgoing connections; several of one family are a pool"`
	EgressBy     string       `key:"egress_by" flag:"egress-by" word:"RULE" default:"round_robin" oneof:"round_robin,client,host" usage:"how one of several egress addresses is chosen: round_robin, client or host"`
	AllowPrivate bool         `key:"allow_private" flag:"allow-private" usage:"lift the guard that refuses loopback, private, link-local and other inner addresses"`
	ConnectPorts Ports        `key:"connect_ports" flag:"connect-ports" word:"LIST" default:"443,8443" usage:"ports that CONNECT may reach, or any"`
	Anonymity    string       `key:"anonymity" flag:"anonymity" word:"LEVEL" default:"strict" oneof:"strict,via,transparent" usage:"what origins may learn: strict, via or transparent"`
	Resolver     []string     `key:"resolver" flag:"resolver" word:"ADDR" usage:"DNS server to ask: host, host:port, udp://, tcp://, tls:// or https://; the system's when none is given"`

	MaxConns          int  `key:"max_conns" flag:"max-conns" word:"N" default:"0" min:"0" usage:"client connections at a time; 0 is no limit but that of descriptors"`
	MaxConnsPerClient int  `key:"max_conns_per_client" flag:"max-conns-per-client" word:"N" default:"0" min:"0" usage:"connections of one client address at a time, of one /64 with IPv6; 0 is no limit"`
	MaxHeader         Size `key:"max_header" flag:"max-header" word:"SIZE" default:"64KiB" min:"1KiB" max:"1MiB" usage:"largest head of a request or an answer"`

	HeaderTimeout       time.Duration `key:"header_timeout" flag:"header-timeout" default:"10s" usage:"bound on the head of a request, from its first byte; for the first one from the connection's start"`
	BodyTimeout         time.Duration `key:"body_timeout" flag:"body-timeout" default:"30s" usage:"bound on a gap in a request's body, and on a client that does not read"`
	DialTimeout         time.Duration `key:"dial_timeout" flag:"dial-timeout" default:"4s" usage:"bound on name lookup and connecting"`
	ResponseTimeout     time.Duration `key:"response_timeout" flag:"response-timeout" default:"60s" usage:"bound on the wait for the head of an answer, all tries together"`
	IdleTimeout         time.Duration `key:"idle_timeout" flag:"idle-timeout" default:"5m" usage:"bound on the pause between requests, and on a gap in an answer's body"`
	UpstreamIdleTimeout time.Duration `key:"upstream_idle_timeout" flag:"upstream-idle-timeout" default:"30s" usage:"how long an idle connection to an origin is kept"`
	TunnelIdleTimeout   time.Duration `key:"tunnel_idle_timeout" flag:"tunnel-idle-timeout" default:"1h" usage:"bound on silence in a tunnel"`
	HalfCloseTimeout    time.Duration `key:"half_close_timeout" flag:"half-close-timeout" default:"5m" usage:"bound on silence in a tunnel that one side has ended"`
	DrainTimeout        time.Duration `key:"drain_timeout" flag:"drain-timeout" default:"30s" usage:"how long exchanges and tunnels may take to end after SIGTERM"`
	DrainGrace          time.Duration `key:"drain_grace" flag:"drain-grace" default:"0s" min:"0s" usage:"how long to go on accepting after SIGTERM"`
}

// Ports is a set of ports, in order. Nil is any port.
type Ports []uint16

// Size is a number of bytes.
type Size int

// Default is what runs when nothing is said: one forward proxy.
func Default() *Config {
	c := &Config{Forward: make([]Forward, 1)}
	preset(reflect.ValueOf(c).Elem())
	return c
}
