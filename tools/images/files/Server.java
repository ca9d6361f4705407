import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;

/** Counts its visits in a file. */
public class Server {
    public static void main(String[] args) throws Exception {
        Path file = Path.of("/data/visits");
        HttpServer server = HttpServer.create(new InetSocketAddress(8080), 0);
        server.createContext("/", exchange -> {
            int visits = 1;
            if (Files.exists(file)) {
                visits += Integer.parseInt(Files.readString(file));
            }
            Files.writeString(file, String.valueOf(visits));
            byte[] answer = ("visit " + visits + "\n").getBytes();
            exchange.sendResponseHeaders(200, answer.length);
            exchange.getResponseBody().write(answer);
            exchange.close();
        });
        Runtime.getRuntime().addShutdownHook(
            new Thread(() -> System.out.println("bye")));
        server.start();
        System.out.println("listening");
    }
}
