package jwt

import (
	"testing"

	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

// TestToken finds tokens in all places; "A" and "B" stand for tokens.
func TestToken(t *testing.T) {
	const (
		everywhere = `{"cookie_names":["jwt","Session"],"uri_param_names":["jwt","token"],"header_names":["authorization","x-token"]}`
		nowhere    = `{"cookie_names":[],"uri_param_names":[],"header_names":[]}`
	)
	const (
		missing        = "Unauthorized"
		many           = "Multiple tokens provided"
		unrecognizable = "Unrecognizable token"
	)
	tests := map[string]struct {
		config, target string
		header         []string
		want, refusal  string
	}{
		"nowhere":                     {everywhere, "/", nil, "", missing},
		"header":                      {`{}`, "/", []string{"authorization", "Bearer A"}, "A", ""},
		"header, case":                {`{}`, "/", []string{"authorization", "bEARER \t A"}, "A", ""},
		"header, spaces inside":       {`{}`, "/", []string{"authorization", "Bearer A B"}, "A B", ""},
		"header, behind other words":  {`{}`, "/", []string{"authorization", "Bearers, Bearer A"}, "A", ""},
		"header, no space":            {`{}`, "/", []string{"authorization", "BearerA"}, "", missing},
		"header, nothing":             {`{}`, "/", []string{"authorization", "Bearer "}, "", missing},
		"header, scheme only":         {`{}`, "/", []string{"authorization", "Bearer"}, "", missing},
		"header, other scheme":        {`{}`, "/", []string{"authorization", "Basic A"}, "", missing},
		"header, only the first":      {`{}`, "/", []string{"authorization", "Bearer A", "authorization", "Bearer B"}, "A", ""},
		"header of another name":      {everywhere, "/", []string{"X-Token", "Bearer A"}, "A", ""},
		"header not configured":       {`{}`, "/", []string{"X-Token", "Bearer A"}, "", missing},
		"param":                       {`{}`, "/?x=1&jwt=A", nil, "A", ""},
		"param, escaped":              {`{}`, "/?jw%74=%41", nil, "A", ""},
		"param, empty":                {`{}`, "/?jwt=", nil, "", missing},
		"param, bare":                 {`{}`, "/?jwt", nil, "", unrecognizable},
		"param, bare and another":     {`{}`, "/?jwt&jwt=A", nil, "", many},
		"param, the same twice":       {`{}`, "/?jwt=A&jwt=A", nil, "A", ""},
		"param, two":                  {`{}`, "/?jwt=A&jwt=B", nil, "", many},
		"param, two names":            {everywhere, "/?jwt=A&token=B", nil, "", many},
		"param, one of them empty":    {`{}`, "/?jwt=&jwt=A", nil, "A", ""},
		"cookie":                      {everywhere, "/", []string{"Cookie", "a=1; jwt=A; b=2"}, "A", ""},
		"cookie, case":                {everywhere, "/", []string{"Cookie", "session=A"}, "A", ""},
		"cookie, second line":         {everywhere, "/", []string{"Cookie", "a=1", "Cookie", "JWT=A=="}, "A==", ""},
		"cookie, empty":               {everywhere, "/", []string{"Cookie", "jwt="}, "", missing},
		"cookie, the first of a name": {everywhere, "/", []string{"Cookie", "jwt=A; jwt=B"}, "A", ""},
		"cookie, two names":           {everywhere, "/", []string{"Cookie", "jwt=A; Session=B"}, "", many},
		"cookie not configured":       {`{}`, "/", []string{"Cookie", "jwt=A"}, "", missing},
		"the same everywhere": {everywhere, "/?jwt=A&token=A",
			[]string{"Cookie", "jwt=A; Session=A", "Authorization", "Bearer A", "X-Token", "Bearer A"}, "A", ""},
		"header and param":  {`{}`, "/?jwt=A", []string{"Authorization", "Bearer B"}, "", many},
		"header and cookie": {everywhere, "/", []string{"Authorization", "Bearer A", "Cookie", "jwt=B"}, "", many},
		"no place configured": {nowhere, "/?jwt=A",
			[]string{"Cookie", "jwt=A", "Authorization", "Bearer A"}, "", missing},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := plugintest.Instance(t, plugintest.Env(nil), "jwt", test.config).(*Plugin)
			got, refused := p.token(plugintest.Exchange("GET", test.target, test.header...))
			message, challenge := "", ""
			if refused != nil {
				message, challenge = refused.body["message"], refused.challenge.Value
			}
			if got != test.want || message != test.refusal {
				t.Errorf("token %q, refusal %q", got, message)
			}
			want := map[string]string{"": "", missing: "Bearer"}[test.refusal]
			if test.refusal == many || test.refusal == unrecognizable {
				want = `Bearer error="invalid_token"`
			}
			if challenge != want {
				t.Errorf("WWW-Authenticate: %s, want %s", challenge, want)
			}
		})
	}
}
