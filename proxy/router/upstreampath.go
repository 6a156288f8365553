package router

import "strings"

// HandlingV1 is Kong's second value for path_handling. Everything else,
// including the empty string, is v0, the default.
const HandlingV1 = "v1"

// UpstreamPath returns the path of the request that goes upstream.
//
// servicePath is the service's path, where empty means "/". requestPath has to
// be normalised. matchedPrefix is [Match.Prefix] and is removed from it if strip
// (strip_path) is set. handling is the route's path_handling: v0 joins the two
// paths with exactly one slash, v1 concatenates them after dropping the request
// path's leading slash.
//
//	service  prefix  request   strip  v0              v1
//	/s       /r      /r        yes    /s              /s
//	/s       /r      /r/       yes    /s/             /s/
//	/s       /r      /rest     yes    /s/est          /sest
//	/s       /r      /r/est    yes    /s/est          /s/est
//	/s/      /r      /r        yes    /s              /s/
//	/s       any     /rest     no     /s/rest         /srest
//	/s/      any     /rest     no     /s/rest         /s/rest
//
// What is left after the prefix cannot leave the service's path: of "/r../x"
// without "/r", the leading "../" is dropped.
func UpstreamPath(servicePath, requestPath, matchedPrefix string, strip bool, handling string) string {
	if servicePath == "" {
		servicePath = "/"
	}
	if strip {
		if matchedPrefix == "" {
			matchedPrefix = "/"
		}
		rest := withoutDots(strings.TrimPrefix(requestPath, matchedPrefix))
		if handling == HandlingV1 {
			return concatenate(servicePath, rest)
		}
		if rest != "" {
			return join(servicePath, rest)
		}
		return stripAll(servicePath, requestPath)
	}
	if handling == HandlingV1 {
		return concatenate(servicePath, strings.TrimPrefix(requestPath, "/"))
	}
	if requestPath == "/" || requestPath == "" {
		return servicePath
	}
	return join(servicePath, requestPath)
}

// stripAll is v0 when nothing is left of the request path. The result ends in a
// slash exactly if the request path does, but "/" alone changes nothing.
func stripAll(servicePath, requestPath string) string {
	if requestPath == "/" {
		return servicePath
	}
	base := strings.TrimSuffix(servicePath, "/")
	if base == "" || strings.HasSuffix(requestPath, "/") {
		return base + "/"
	}
	return base
}

// join puts exactly one slash between a and b.
func join(a, b string) string {
	a = strings.TrimSuffix(a, "/")
	if !strings.HasPrefix(b, "/") {
		return a + "/" + b
	}
	return a + b
}

// concatenate is v1: it adds no slash, and drops one of two.
func concatenate(a, b string) string {
	if strings.HasPrefix(b, "/") {
		a = strings.TrimSuffix(a, "/")
	}
	return a + b
}

// withoutDots removes what has become a dot segment because the prefix in front
// of it is gone.
func withoutDots(rest string) string {
	switch {
	case rest == "." || rest == "..":
		return ""
	case strings.HasPrefix(rest, "./"):
		return rest[len("./"):]
	case strings.HasPrefix(rest, "../"):
		return rest[len("../"):]
	default:
		return rest
	}
}
