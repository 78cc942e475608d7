import java.io.FileInputStream;
import java.io.InputStream;
import java.net.Authenticator;
import java.net.HttpURLConnection;
import java.net.InetSocketAddress;
import java.net.PasswordAuthentication;
import java.net.Proxy;
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** Java's two clients: Client PROXY-HOST PROXY-PORT CA SITE [USER PASSWORD]. */
class Client {
    static SSLContext trusting(String ca) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream in = new FileInputStream(ca)) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(in));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext tls = SSLContext.getInstance("TLS");
        tls.init(null, trust.getTrustManagers(), null);
        return tls;
    }

    /** Who we are, when the proxy asks. */
    static Authenticator login(String user, String password) {
        return new Authenticator() {
            @Override
            protected PasswordAuthentication getPasswordAuthentication() {
                return getRequestorType() == RequestorType.PROXY ? new PasswordAuthentication(user, password.toCharArray()) : null;
            }
        };
    }

    public static void main(String[] args) throws Exception {
        InetSocketAddress proxy = new InetSocketAddress(args[0], Integer.parseInt(args[1]));
        SSLContext tls = trusting(args[2]);
        var settings = HttpClient.newBuilder().proxy(ProxySelector.of(proxy)).sslContext(tls).connectTimeout(Duration.ofSeconds(20));
        if (args.length > 4) {
            Authenticator.setDefault(login(args[4], args[5]));
            settings.authenticator(login(args[4], args[5]));
        }
        HttpClient client = settings.build();
        byte[] large = "viaduct ".repeat(1 << 20).getBytes();
        for (String scheme : new String[] {"http", "https"}) {
            URI site = URI.create(scheme + "://" + args[3]);
            var hello = client.send(HttpRequest.newBuilder(site.resolve("/hello")).build(), BodyHandlers.ofString());
            System.out.println("HttpClient " + hello.statusCode() + " " + hello.body().trim());
            // A stream has no length: chunks in HTTP/1.1.
            var body = BodyPublishers.ofInputStream(() -> new java.io.ByteArrayInputStream(large));
            var sum = client.send(HttpRequest.newBuilder(site.resolve("/sum")).POST(body).build(), BodyHandlers.ofString());
            System.out.println("HttpClient " + sum.statusCode() + " " + sum.body().trim());

            var old = (HttpURLConnection) site.resolve("/hello").toURL().openConnection(new Proxy(Proxy.Type.HTTP, proxy));
            if (old instanceof HttpsURLConnection secure) {
                secure.setSSLSocketFactory(tls.getSocketFactory());
            }
            System.out.println("URLConnection " + old.getResponseCode() + " " + new String(old.getInputStream().readAllBytes()).trim());
        }
    }
}
