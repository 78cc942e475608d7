package filter

import (
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"viaduct/hop"
)

// check gathers what is wrong with a rule.
type check struct{ problems []RuleError }

// say tells of a field, with what was written there if the text is about that.
func (c *check) say(field, value, text string) {
	if text != "" {
		c.problems = append(c.problems, RuleError{Field: field, Value: value, Text: text})
	}
}

func item(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }

// CheckRule says everything that is wrong with a filter for a proxy with this
// profile: not the values of its match, which acl.CheckValue knows, nor its name.
func CheckRule(r *Rule, profile hop.Anonymity) []RuleError {
	c := new(check)
	c.parts(r)
	c.match(r)
	c.edit(r.Request, "request", func(field string) string { return droppedRequest(field, profile) })
	c.edit(r.Answer, "answer", func(field string) string { return droppedAnswer(field, profile) })
	if r.Deny != nil {
		c.deny(r.Deny)
	}
	if r.Respond != nil {
		c.respond(r.Respond)
	}
	if r.Redirect != nil {
		c.redirect(r.Redirect)
	}
	return c.problems
}

// parts checks which parts a filter has.
func (c *check) parts(r *Rule) {
	var ends []string
	if r.Deny != nil {
		ends = append(ends, "deny")
	}
	if r.Respond != nil {
		ends = append(ends, "respond")
	}
	if r.Redirect != nil {
		ends = append(ends, "redirect")
	}
	if len(ends) == 0 {
		if r.Request == nil && r.Answer == nil {
			c.say("", "", "does nothing: write request, answer, deny, respond or redirect")
		}
		return
	}
	for _, end := range ends[1:] {
		c.say(end, "", "stands beside "+ends[0]+", and only one of them can end a request: write two filters")
	}
	if r.Deny != nil && !r.Deny.isEmpty() {
		return
	}
	if r.Request != nil {
		c.say("request", "", "edits a request that goes no further, because "+ends[0]+" ends it: take it out")
	}
	if r.Answer != nil {
		c.say("answer", "", "edits answers of origins, and with "+ends[0]+" no request gets that far: take it out")
	}
}

func (c *check) match(r *Rule) {
	if r.Match == nil {
		return
	}
	if r.Match.Addr != nil {
		c.say("match.addr", "", "is not known yet when filters are chosen: write host or port instead")
	}
	for i, m := range r.Match.Method {
		if m == http.MethodConnect {
			c.say(item("match.method", i), m, "matches nothing: a filter sees the requests inside an inspected tunnel, and never the CONNECT")
		}
	}
}

// edit checks an Edit, whose lists may not name a field twice: the order in
// which they apply is nothing that anybody should have to know. Dropped says why
// a field would be written in vain.
func (c *check) edit(e *Edit, path string, dropped func(field string) string) {
	if e == nil {
		return
	}
	if len(e.Set) == 0 && len(e.Remove) == 0 && len(e.Replace) == 0 {
		c.say(path, "", "has nothing to do: write set, remove or replace")
	}
	seen := make(map[string]string)
	for i, line := range e.Set {
		field, value, ok := strings.Cut(line, ":")
		at := item(path+".set", i)
		switch {
		case !ok:
			c.say(at, line, "has no colon: write Name: value")
		case !c.name(line, field, at, seen, at):
		case strings.ContainsFunc(value, isControl):
			c.say(at, line, "has a control character in its value: write it in one line")
		default:
			c.say(at, line, dropped(field))
		}
	}
	for i, field := range e.Remove {
		at := item(path+".remove", i)
		c.name(field, field, at, seen, at)
	}
	for i := range e.Replace {
		r, at := &e.Replace[i], item(path+".replace", i)
		if c.name(r.Header, r.Header, at+".header", seen, path+".replace") { // one value may be replaced in several steps
			c.say(at+".header", r.Header, dropped(r.Header))
		}
		c.replace(r, at)
	}
}

// name checks the name of a field, which by is about to change, in what was written.
func (c *check) name(written, field, at string, seen map[string]string, by string) bool {
	key := normal(field)
	problem := checkName(field)
	if first, again := seen[key]; problem == "" && again && first != by {
		problem = "names a field that " + first + " names already: keep one of them"
	}
	c.say(at, written, problem)
	if seen[key] == "" {
		seen[key] = by
	}
	return problem == ""
}

// ours are the fields that frame, route or steer a message, in normal form.
var ours = []string{
	"connection", "content-length", "transfer-encoding", "host", "te", "trailer", "upgrade", "keep-alive", "expect", "via", "max-forwards",
}

func checkName(field string) string {
	key := normal(field)
	switch {
	case field == "":
		return "has no name: write one such as X-Team"
	case field != strings.TrimRight(field, " \t"):
		return "has a space before the colon: write the name right before it"
	case strings.ContainsFunc(field, isNoToken):
		return "is not the name of a field: write one such as X-Team"
	case slices.Contains(ours, key), strings.HasPrefix(key, "proxy-"):
		return "frames, routes or steers a message, which viaduct does itself: take it out"
	}
	return ""
}

// normal is a name in lower case with "-" for "_".
func normal(field string) string {
	return strings.ReplaceAll(strings.ToLower(field), "_", "-")
}

func isNoToken(c rune) bool {
	return c <= ' ' || c > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
}

func isControl(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }

func (c *check) replace(r *Replace, at string) {
	if strings.ContainsFunc(r.With, isControl) {
		c.say(at+".with", r.With, "has a control character in it: write it in one line")
	}
	if r.Match == "" {
		c.say(at+".match", "", "is empty: write an expression such as ^http:")
		return
	}
	re, err := regexp.Compile(r.Match)
	if err != nil {
		c.say(at+".match", r.Match, strings.TrimPrefix(err.Error(), "error parsing regexp: ")+": write an expression of RE2, such as ^http:")
		return
	}
	c.say(at+".with", r.With, checkGroups(r.With, re))
}

// checkGroups finds a group that an expression does not have, for which nothing
// would be written.
func checkGroups(with string, re *regexp.Regexp) string {
	for {
		_, rest, ok := strings.Cut(with, "$")
		switch {
		case !ok:
			return ""
		case strings.HasPrefix(rest, "$"):
			with = rest[1:]
			continue
		}
		var group string
		if inside, found := strings.CutPrefix(rest, "{"); found {
			group, with, ok = strings.Cut(inside, "}")
		} else {
			n := strings.IndexFunc(rest, isNoWord)
			if n < 0 {
				n = len(rest)
			}
			group, with = rest[:n], rest[n:]
		}
		if !ok || group == "" || strings.ContainsFunc(group, isNoWord) {
			return "has a $ that names no group: write $1 or ${name}, and $$ for a dollar sign"
		}
		if !hasGroup(re, group) {
			return fmt.Sprintf("means the group %q, which match does not have: write ${1} where letters or digits follow a number, and $$ for a dollar sign", group)
		}
	}
}

func isNoWord(c rune) bool {
	return c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
}

func hasGroup(re *regexp.Regexp, group string) bool {
	if n, err := strconv.Atoi(group); err == nil {
		return n <= re.NumSubexp()
	}
	return slices.Contains(re.SubexpNames()[1:], group)
}

func (c *check) deny(d *Deny) {
	c.types(d.RequestType, "deny.request_type")
	c.types(d.AnswerType, "deny.answer_type")
	if d.RequestSize < 0 {
		c.say("deny.request_size", "", "is less than nothing: write a size such as 10MiB")
	}
	if d.AnswerSize < 0 {
		c.say("deny.answer_size", "", "is less than nothing: write a size such as 10MiB")
	}
}

func (c *check) types(types []string, path string) {
	if types != nil && len(types) == 0 {
		// Read as "any", a list that is empty by mistake would refuse everything.
		c.say(path, "", "has no value: write one, or leave it out")
	}
	for i, t := range types {
		c.say(item(path, i), t, checkType(t))
	}
}

func checkType(t string) string {
	const write = "write a media type such as image/png, video/* or */*"
	family, kind, ok := strings.Cut(t, "/")
	switch {
	case strings.Contains(t, ";"):
		return "parameters are not compared: write what stands before the ;"
	case !ok || family == "" || kind == "" || strings.ContainsFunc(family+kind, isNoToken):
		return write
	case t != "*/*" && strings.Contains(family+strings.TrimSuffix("/"+kind, "/*"), "*"):
		return "a * stands for all that may follow the / and for nothing less: " + write
	}
	return ""
}

func (c *check) respond(r *Respond) {
	switch status := strconv.Itoa(r.Status); {
	case r.Status == 0:
	case r.Status < 200 || r.Status > 599:
		c.say("respond.status", status, "is not the status of an answer: write one from 200 to 599")
	case slices.Contains(redirects, r.Status):
		c.say("respond.status", status, "sends the client elsewhere, and respond can't say where: write redirect")
	case isBare(r.Status) && len(r.Body) > 0:
		c.say("respond.body", "", fmt.Sprintf("can't be sent, for an answer with status %d has none: take it out, or write another status", r.Status))
	}
	if r.Type == "" {
		return
	}
	kind, _, err := mime.ParseMediaType(r.Type)
	if err != nil || strings.ContainsFunc(r.Type, func(c rune) bool { return c < ' ' || c > '~' }) || strings.Contains(kind, "*") || checkType(kind) != "" {
		c.say("respond.type", r.Type, "write a media type such as text/html; charset=utf-8")
	}
}

// redirects are the statuses that send a client elsewhere for good or for now.
var redirects = []int{
	http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect,
}

func (c *check) redirect(r *Redirect) {
	if r.Status != 0 && !slices.Contains(redirects, r.Status) {
		c.say("redirect.status", strconv.Itoa(r.Status), "write one of 301, 302, 303, 307 and 308")
	}
	c.say("redirect.to", r.To, checkURL(r.To, r.KeepPath))
}

func checkURL(to string, keepPath bool) string {
	u, err := url.Parse(to)
	switch {
	case strings.ContainsFunc(strings.ReplaceAll(to, "#", ""), isUnsafe):
		return "has a character that a URL can't have: write the host in ASCII (xn--…), and in the path %20 for a space"
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return "write a whole URL that begins with http:// or https:// and a host"
	case u.User != nil:
		return "has a user name in it, which browsers refuse: write the host right after the //"
	case keepPath && strings.ContainsAny(to, "?#"):
		return "gets path and query of the request appended: write it without ? and #, or without keep_path"
	}
	if _, err := hop.ParseHost([]byte(u.Host), 80); err != nil {
		return "has no valid host: write a name such as example.com, or an address, and a port from 1 to 65535 if there is one"
	}
	return ""
}

// droppedRequest says why a profile leaves a field of requests behind, and
// droppedAnswer the same of answers; "" if it does not.
func droppedRequest(field string, profile hop.Anonymity) string {
	switch {
	case !profile.DropRequest([]byte(field)):
		return ""
	case hop.Transparent.DropRequest([]byte(field)):
		return "never goes on to an origin: take it out"
	}
	return "does not go on to origins with anonymity " + profile.String() + ": take it out, or choose another anonymity"
}

func droppedAnswer(field string, profile hop.Anonymity) string {
	if profile.DropResponse([]byte(field)) {
		return "never goes on to a client: take it out"
	}
	return ""
}
