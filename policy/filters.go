package policy

import (
	"errors"
	"fmt"

	"viaduct/acl"
	"viaduct/files"
	"viaduct/filter"
	"viaduct/hop"
)

// mostPage bounds a file that is an answer: it stays in memory.
const mostPage = 1 << 20

// filters are those of the configuration, with what their files say.
func (p *Policy) filters(o *Options) (*filter.Chain, error) {
	if len(o.Conf.Filters) == 0 {
		return nil, nil
	}
	profile, err := hop.ParseAnonymity(o.Conf.Anonymity)
	if err != nil {
		return nil, err
	}
	rules := make([]filter.Rule, len(o.Conf.Filters))
	for i := range o.Conf.Filters {
		c, r := &o.Conf.Filters[i], &rules[i]
		*r = c.Rule()
		if c.Match != nil {
			r.Match = &acl.Rule{}
			if err := p.terms(o.Files, r.Match, c.Match); err != nil {
				return nil, fmt.Errorf("filter %s: match: %w", c.Name, err)
			}
		}
		if c.Respond != nil && c.Respond.File != "" {
			r.Respond.Body, err = files.Load(o.Files, c.Respond.File, "page", page)
		}
		if err != nil {
			return nil, fmt.Errorf("filter %s: respond: %w", c.Name, err)
		}
	}
	chain, err := filter.Compile(rules, profile)
	if wrong, ok := errors.AsType[*filter.RuleError](err); ok {
		return nil, fmt.Errorf("filter %s: %s: %s", rules[wrong.Rule].Name, wrong.Field, wrong.Text)
	}
	return chain, err
}

func page(text []byte) ([]byte, error) {
	if len(text) > mostPage {
		return nil, errors.New("is larger than 1 MiB: an answer stays in memory, so let a server have it, and write redirect")
	}
	return text, nil
}
