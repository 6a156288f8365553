package proxy

// spellings holds the field names that Kong writes otherwise than net/http's
// canonical form. Names are compared without regard to case (RFC 9110, section
// 5.1), but people grep for them as Kong's documentation has them.
var spellings = map[string]string{
	"Ratelimit-Limit":              "RateLimit-Limit",
	"Ratelimit-Remaining":          "RateLimit-Remaining",
	"Ratelimit-Reset":              "RateLimit-Reset",
	"Www-Authenticate":             "WWW-Authenticate",
	"X-Consumer-Custom-Id":         "X-Consumer-Custom-ID",
	"X-Consumer-Id":                "X-Consumer-ID",
	"X-Ratelimit-Limit-Second":     "X-RateLimit-Limit-Second",
	"X-Ratelimit-Limit-Minute":     "X-RateLimit-Limit-Minute",
	"X-Ratelimit-Limit-Hour":       "X-RateLimit-Limit-Hour",
	"X-Ratelimit-Limit-Day":        "X-RateLimit-Limit-Day",
	"X-Ratelimit-Limit-Month":      "X-RateLimit-Limit-Month",
	"X-Ratelimit-Limit-Year":       "X-RateLimit-Limit-Year",
	"X-Ratelimit-Remaining-Second": "X-RateLimit-Remaining-Second",
	"X-Ratelimit-Remaining-Minute": "X-RateLimit-Remaining-Minute",
	"X-Ratelimit-Remaining-Hour":   "X-RateLimit-Remaining-Hour",
	"X-Ratelimit-Remaining-Day":    "X-RateLimit-Remaining-Day",
	"X-Ratelimit-Remaining-Month":  "X-RateLimit-Remaining-Month",
	"X-Ratelimit-Remaining-Year":   "X-RateLimit-Remaining-Year",
	"X-Real-Ip":                    "X-Real-IP",
}

// spelled gives a canonical field name as it goes on the wire.
func spelled(name string) string {
	if s, ok := spellings[name]; ok {
		return s
	}
	return name
}
