// Package config is what the operator wrote: plain data with its defaults, read
// from a YAML file or from the command line, and validated with the place of
// each mistake.
//
// The structs below are the one place where an option is defined. A field's tags
// say everything about it: key in the file, flag (its twin in the environment
// follows from that), default, bounds, allowed words, and what it means. Package
// option makes the flags of the command line, the reader, the printer and the
// schema for editors from them.
package config

import (
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"viaduct/option"
)

// Config is everything an operator can say.
type Config struct {
	Admin   Admin     `key:"admin" usage:"the operator's door: metrics, health and status"`
	Log     Log       `key:"log" usage:"what is told, and where"`
	Watch   bool      `key:"watch" usage:"reload when this file changes on disk"`
	Forward []Forward `key:"forward" min:"1" usage:"forward proxies: each has its listeners and its policy"`
	Pools   []Pool    `key:"pools" named:"upstream" usage:"ways out that via and route name: parent proxies, and perhaps direct as one of them"`
}

// Admin is the operator's door.
type Admin struct {
	Listen    string   `key:"listen" flag:"admin" word:"ADDR" usage:"address of metrics, health and status: host:port, or unix:///path; none when it is not given"`
	TokenFile string   `key:"token_file" flag:"admin-token-file" word:"FILE" min:"1" file:"" usage:"file with the token that metrics ask for (Authorization: Bearer); needed beyond the loopback"`
	Hosts     []string `key:"hosts" flag:"admin-hosts" word:"NAME" usage:"further names by which the admin address may be called"`
}

// Log says what is logged.
type Log struct {
	Level  string    `key:"level" flag:"log-level" word:"LEVEL" default:"info" oneof:"debug,info,warn,error" usage:"least level of messages on standard error: debug, info, warn or error"`
	Access AccessLog `key:"access" usage:"the access log"`
}

// AccessLog is one line an exchange.
type AccessLog struct {
	Path   string `key:"path" flag:"access-log" word:"PATH" file:"-,off" default:"-" usage:"path of the access log, - for standard output, or off"`
	Format string `key:"format" flag:"access-log-format" word:"FORMAT" default:"json" oneof:"json,squid,combined" usage:"format of its lines: json, squid or combined"`
}

// Forward is one forward proxy.
type Forward struct {
	Listen []string `key:"listen" flag:"listen" word:"ADDR" default:"127.0.0.1:3128" usage:"address to listen on: host:port, http://host:port, or https://host:port for TLS"`
	Open   bool     `key:"open" flag:"open" usage:"let clients in from anywhere without authentication"`
	TLS    TLS      `key:"tls" usage:"what https:// listeners show their clients, and ask of them"`

	Users       string        `key:"users" flag:"users" word:"FILE" min:"1" file:"" usage:"htpasswd file: every client authenticates as one of its users; read again when it changes"`
	Groups      string        `key:"groups" flag:"groups" word:"FILE" min:"1" file:"" usage:"their groups, a line each: group: user user; read again when it changes"`
	AuthURL     string        `key:"auth_url" flag:"auth-url" word:"URL" min:"1" usage:"http:// or https:// service that is asked about a client's credentials, instead of a file"`
	AuthTimeout time.Duration `key:"auth_timeout" flag:"auth-timeout" default:"2s" usage:"bound on the answer of that service"`
	AuthCache   time.Duration `key:"auth_cache" flag:"auth-cache" default:"5m" usage:"how long credentials that were verified are believed"`

	Rules         []Rule `key:"rules" brief:"true" usage:"who may reach what: the first rule whose terms all hold decides; when none does, deny if there is an allow rule that is more than addr, else allow"`
	ReportOnly    bool   `key:"report_only" flag:"report-only" usage:"log what the rules, or the last word, would deny, and let it pass"`
	SNI           string `key:"sni" flag:"sni" word:"MODE" default:"off" oneof:"off,report,enforce" usage:"what is done about a tunnel whose TLS names another host than its CONNECT: off, report or enforce"`
	ReloadTunnels string `key:"reload_tunnels" flag:"reload-tunnels" word:"MODE" default:"keep" oneof:"keep,recheck" usage:"what a reload does to open tunnels: keep them, or recheck them by the new rules"`
	Contact       string `key:"contact" flag:"contact" word:"TEXT" usage:"whom to ask about a denial: one line, told with it"`

	Inspect  []Inspection `key:"inspect" brief:"true" usage:"which tunnels are inspected, so that rules and filters see the requests inside: the first entry whose terms all hold decides; when none does, the tunnel is passed on"`
	CA       string       `key:"ca" flag:"ca" word:"DIR" min:"1" file:"" usage:"folder of the authority to inspect with, made by viaduct ca init DIR; clients must trust it"`
	OriginCA string       `key:"origin_ca" flag:"origin-ca" word:"FILE" min:"1" file:"" usage:"authorities (PEM), beside those of the system, that origins in inspected tunnels may have their certificates from"`
	Filters  []Filter     `key:"filters" brief:"true" usage:"what is refused, answered or changed in requests and answers, also in inspected tunnels: all that match apply, in order, until one ends the request"`

	Via   string  `key:"via" default:"direct" min:"1" usage:"way out of what no route names: a pool, or direct"`
	Route []Route `key:"route" brief:"true" usage:"which way out is taken: that of the first route whose terms all hold, else that of via"`

	Egress       []netip.Addr `key:"egress" flag:"egress" word:"IP" usage:"source address of outgoing connections; several of one family are a pool"`
	EgressBy     string       `key:"egress_by" flag:"egress-by" word:"RULE" default:"round_robin" oneof:"round_robin,user,client,host" usage:"how one of several egress addresses is chosen: round_robin, user, client or host"`
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
type Ports = option.Ports

// Size is a number of bytes.
type Size = option.Size

// Flag is an option of `viaduct forward`.
type Flag = option.Flag

// Given is what was given for a flag.
type Given = option.Given

// Problem is one mistake of the operator.
type Problem = option.Problem

// Problems is what is wrong with a configuration, in order of place. It is the error
// of whatever reads or checks one.
type Problems = option.Problems //nolint:errname // it reads as what it is: a list of problems

// Default is what runs when nothing is said: one forward proxy.
func Default() *Config {
	c := &Config{Forward: make([]Forward, 1)}
	option.Preset(c)
	return c
}

// form is what may be written instead of what is meant.
func (c *Config) form() option.Form {
	return option.Form{
		NotYet: " reverse registry pac rate_limit bandwidth ",
		Synonyms: " address=listen bind=listen port=listen dns=resolver token=token_file" +
			" auth=users,auth_url htpasswd=users users_file=users groups_file=groups http_access=rules acl=rules policy=rules,balance" +
			" src=client source=client from=client ip=client,addr cidr=client,addr network=client,addr dst=host,addr dest=host,addr destination=host,addr" +
			" dstdomain=host domain=host domains=host hostname=host server_name=host to=host proxy_auth=user ident=user username=user" +
			" ssl=tls https=tls certificate=cert cert_file=cert crt=cert tls_crt=cert key_file=key private_key=key client_cas=client_ca ca_file=client_ca,ca" +
			" open=open,decrypt allow=allow,pass ssl_bump=inspect bump=inspect mitm=inspect intercept=inspect splice=pass bypass=pass roots=origin_ca root_ca=origin_ca" +
			" filter=filters rewrite=filters header=request,answer headers=request,answer response=answer reply=answer block=deny" +
			" mime_type=answer_type,request_type content_type=answer_type,request_type,type max_size=answer_size,request_size" +
			" add=set delete=remove regex=match pattern=match value=with location=to target=to code=status content=body text=body" +
			" url=path,to uri=path urlpath=path url_path=path prefix=path verb=method day=time days=time hours=time" +
			" routes=route routing=route way=via out=via exit=via forward_to=via chain=via,endpoints pool=via,pools upstream=via,pools,endpoints upstreams=pools,endpoints proxy=via,endpoints proxies=pools,endpoints" +
			" parent=via,pools,endpoints parents=via,pools,endpoints forward_proxy=via,endpoints cache_peer=pools,endpoints peer=endpoints peers=pools,endpoints server=endpoints servers=pools,endpoints backend=via,endpoints backends=pools,endpoints" +
			" nodes=endpoints members=endpoints hosts=endpoints,host urls=endpoints weight=endpoints backup=endpoints tier=endpoints" +
			" algorithm=balance strategy=balance lb=balance lb_policy=balance load_balancing=balance hash=hash_key hash_on=hash_key key_by=hash_key" +
			" health_check=health healthcheck=health health_checks=health probe=health,check period=interval unhealthy_threshold=fall healthy_threshold=rise" +
			" retry=retries max_retries=retries budget=retry_budget hedge=hedge_after hedging=hedge_after outlier_detection=eject ejection=eject circuit_breaker=limits circuit_breakers=limits" +
			" base_time=time max_time=most_time max_requests=requests max_pending=pending max_pending_requests=pending timeout_queue=queue_timeout ",
		Check: c.check,
		Hide:  hide,
	}
}

// Load reads the file at path, as Read does. An error that is not Problems says
// that the file could not be read at all.
func Load(path string) (*Config, error) {
	c := empty()
	if err := option.Load(path, c, c.form()); err != nil {
		return nil, err
	}
	return c, nil
}

// Read reads the text of a file of this name. What is left out has its default,
// and the name of another file in it is taken from the folder of this one. The
// error is Problems: all that is wrong, each with its line and column.
func Read(name string, text []byte) (*Config, error) {
	c := empty()
	if err := option.Read(name, text, c, c.form()); err != nil {
		return nil, err
	}
	return c, nil
}

// empty is a file without a word, which runs nothing.
func empty() *Config {
	c := Default()
	c.Forward = nil
	return c
}

// upstream is the pool that flags make, and the flag of its endpoints.
const upstream = "upstream"

// FromFlags makes the configuration of one forward proxy from flags, by name. A
// flag that was not given has its default. The error is Problems, each with its
// flag and value.
func FromFlags(given map[string]Given) (*Config, error) {
	c := Default()
	if len(given[upstream].Values) > 0 {
		c.Forward[0].Via = upstream
	}
	if err := option.FromFlags(given, c, c.form()); err != nil {
		return nil, err
	}
	return c, nil
}

// Flags lists every option that has a flag: those of a forward proxy, then those
// of the whole process.
func Flags() []Flag { return option.Flags(Config{}) }

// Nearest is the word that is the fewest slips of the hand from s, if they are few
// for its length; "" when there is none.
// What other programs call a flag is near it, too.
func Nearest(s string, words []string) string {
	const others = " decrypt=inspect mitm=inspect bump=inspect ssl-bump=inspect intercept=inspect pass=inspect-pass splice=inspect-pass bypass=inspect-pass" +
		" parent=upstream parents=upstream proxy=upstream cache-peer=upstream forward-proxy=upstream upstream-proxy=upstream chain=upstream endpoint=upstream via=upstream" +
		" lb=balance policy=balance algorithm=balance strategy=balance lb-policy=balance hash=hash-key hedge=hedge-after resolve=upstream-resolve "
	_, same, _ := strings.Cut(others, " "+s+"=")
	if same, _, _ = strings.Cut(same, " "); slices.Contains(words, same) {
		return same
	}
	return option.Nearest(s, words)
}

// Print writes the configuration with all its defaults, as a file that reads
// back to the same. Where an endpoint has a password, *** stands in its place, which
// no configuration may have. Other secrets are in files of their own.
func (c *Config) Print(w io.Writer) error { return option.Print(w, c, c.form()) }

// Schema is a JSON Schema (draft 2020-12) of the file, for editors that check and
// complete it.
func Schema() []byte { return option.Schema(Config{}, "viaduct", "forward") }
