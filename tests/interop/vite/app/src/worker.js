self.postMessage("worked");
