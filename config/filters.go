package config

import (
	"reflect"
	"strings"

	"viaduct/acl"
	"viaduct/filter"
	"viaduct/hop"
	"viaduct/option"
)

// Filter is one line about what is done to requests, and to their answers. One of
// Request, Answer, Deny, Respond and Redirect is set at least; Deny, Respond and
// Redirect end a request, so that one of these is set at most.
type Filter struct {
	Name     string    `key:"name" place:"true" usage:"what logs and clients are told; the place of the filter when it has none"`
	Match    *Terms    `key:"match" usage:"the requests that it is for: those that all these terms hold for, every one when it is left out"`
	Request  *Edit     `key:"request" usage:"what is changed in the fields of a request"`
	Answer   *Edit     `key:"answer" usage:"what is changed in the fields of an answer"`
	Deny     *Deny     `key:"deny" usage:"refuse the request, or its answer, if all that is written here holds; {} refuses every one"`
	Respond  *Respond  `key:"respond" usage:"answer the request here: no origin is asked"`
	Redirect *Redirect `key:"redirect" usage:"send the client elsewhere: no origin is asked"`
}

// Edit is what is changed in the fields of a message.
type Edit struct {
	Remove  []string  `key:"remove" min:"1" usage:"names of fields that are taken out"`
	Set     []string  `key:"set" min:"1" usage:"fields, Name: value, each in place of all of its name"`
	Replace []Replace `key:"replace" min:"1" usage:"what is replaced in the values of fields that are there"`
}

// Replace is what is replaced in the values of a field.
type Replace struct {
	Header string `key:"header" min:"1" usage:"name of the field"`
	Match  string `key:"match" min:"1" usage:"regular expression (RE2) of what is replaced"`
	With   string `key:"with" usage:"what stands there instead; $1 is what the first group in match found"`
}

// Deny is what a message must be to be refused.
type Deny struct {
	RequestType []string `key:"request_type" min:"1" usage:"media types of request bodies: application/zip or video/*"`
	RequestSize Size     `key:"request_size" min:"1B" max:"1024GiB" example:"10MiB" usage:"request bodies larger than this"`
	AnswerType  []string `key:"answer_type" min:"1" usage:"media types of answers: application/zip or video/*"`
	AnswerSize  Size     `key:"answer_size" min:"1B" max:"1024GiB" example:"100MiB" usage:"answers larger than this"`
}

// Respond is an answer of our own.
type Respond struct {
	Status int    `key:"status" default:"200" min:"200" max:"599" usage:"status of the answer"`
	Type   string `key:"type" default:"text/plain; charset=utf-8" min:"1" usage:"media type of its body"`
	Body   string `key:"body" usage:"its body"`
	File   string `key:"file" min:"1" file:"" usage:"file with its body, instead of body; read again when it changes"`
}

// Redirect sends a client elsewhere.
type Redirect struct {
	To       string `key:"to" min:"1" usage:"http:// or https:// address to go to"`
	KeepPath bool   `key:"keep_path" usage:"go to the path and query of the request there"`
	Status   int    `key:"status" default:"302" min:"301" max:"308" usage:"status of the answer: 301, 302, 303, 307 or 308"`
}

// Rule is the filter for package filter, but for its match and the file of its
// answer, whose lists and text somebody else reads.
func (f *Filter) Rule() filter.Rule {
	r := filter.Rule{Name: f.Name, Request: f.Request.edit(), Answer: f.Answer.edit()}
	if d := f.Deny; d != nil {
		r.Deny = &filter.Deny{RequestType: d.RequestType, AnswerType: d.AnswerType, RequestSize: int64(d.RequestSize), AnswerSize: int64(d.AnswerSize)}
	}
	if a := f.Respond; a != nil {
		r.Respond = &filter.Respond{Status: a.Status, Type: a.Type, Body: []byte(a.Body)}
	}
	if d := f.Redirect; d != nil {
		r.Redirect = &filter.Redirect{To: d.To, KeepPath: d.KeepPath, Status: d.Status}
	}
	return r
}

func (e *Edit) edit() *filter.Edit {
	if e == nil {
		return nil
	}
	edit := &filter.Edit{Set: e.Set, Remove: e.Remove}
	for _, r := range e.Replace {
		edit.Replace = append(edit.Replace, filter.Replace(r))
	}
	return edit
}

// filters checks what is done to requests and answers.
func (r report) filters(f *Forward, path string, names map[string]string) {
	reach := reach{report: r}
	for i := range f.Filters {
		c, at := &f.Filters[i], option.Item(path+".filters", i)
		r.name(c.Name, at, names)
		r.terms(f, c.Match, path, at+".match", nil)
		r.filter(c, at, f.Anonymity)
		reach.past(at, "ends every request", r.ends(c, at) && (c.Match == nil || r.all(c.Match, at+".match")))
	}
}

// ends tells whether a filter ends every request that it is for.
func (r report) ends(c *Filter, path string) bool {
	return c.Respond != nil && !r.Unread(path+".respond") || c.Redirect != nil && !r.Unread(path+".redirect") ||
		c.Deny != nil && reflect.ValueOf(*c.Deny).IsZero() && !r.Unread(path+".deny") && !r.Strange(path+".deny")
}

// filter tells what package filter has against one of them.
func (r report) filter(c *Filter, path, anonymity string) {
	rule := c.Rule()
	if t := c.Match; t != nil {
		rule.Match = &acl.Rule{Addr: t.Addr, Method: t.Method}
	}
	profile, err := hop.ParseAnonymity(anonymity)
	if err != nil {
		profile = hop.Transparent // which one is meant is not known: it drops the least
	}
	for _, wrong := range filter.CheckRule(&rule, profile) {
		at := strings.TrimSuffix(path+"."+wrong.Field, ".")
		switch {
		case wrong.Field == "deny.request_type", wrong.Field == "deny.answer_type": // a list without values: the tags say so
		case r.Strange(at), r.Implied(at) && r.Strange(at[:strings.LastIndexByte(at, '.')]): // what is missing may be what nobody knows
		default:
			r.Say(at, wrong.Value, wrong.Text)
		}
	}
	if a := c.Respond; a != nil && a.File != "" && a.Body != "" {
		r.Say(path+".respond.file", a.File, "stands beside body: take one of them out")
	}
}
